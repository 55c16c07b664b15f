"""The wire: messages, ids, error codes, canonical bytes, envelopes and statements.

Everything two processes must agree on lives here and nothing else does. No file in this room does
I/O or reads a clock.
"""
