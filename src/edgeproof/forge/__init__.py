"""Forge: builds a deployment artifact from a source model, and says exactly how.

One port (``port.Toolchain``), one file per toolchain behind it, found through the entry points
``edgeproof.toolchains``. Knows nothing of the server, of leases or of signatures: the runner calls
``edgeproof.forge.build.build`` in a child process and signs what comes back.
"""
