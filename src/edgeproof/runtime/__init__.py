"""Executes artifacts and measures them. The entry is ``edgeproof.runtime.duet.measure``.

This file imports nothing: a measured process pays for every import before its first inference.
"""
