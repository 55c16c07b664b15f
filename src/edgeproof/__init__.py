"""Edgeproof proves a model on the devices it will run on.

The public surface of the package; rooms are described in docs/architecture.md.
"""

__version__ = "0.1.0"
