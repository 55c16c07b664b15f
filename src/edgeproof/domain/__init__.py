"""The rules of jobs, runs, leases and measurements: tables and pure functions.

No file in this room does I/O or reads a clock; where time matters, ``now`` is an argument.
"""
