"""``edgeproof bench queue``: what the run queue does on this machine, against its goals.

A real control plane (a process, HTTP, embedded PostgreSQL with durable commits), and in this process runners
that do everything a runner does but build: they verify their job specs and sign their results.
"""
