"""The Lab: compares, judges, reports and verifies, from evidence that is already in memory.

It does no I/O and reads no clock: the same evidence and policy give the same bytes.
"""
