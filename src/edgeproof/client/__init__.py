"""The one HTTP transport to a control plane: async for us, with a thin sync face for users.

``ControlPlaneClient`` speaks every route with typed messages; ``Edgeproof`` is its sync face. Nothing
here decides what to run or what a result means.
"""

from edgeproof.client.address import ServerAddress
from edgeproof.client.exchange import RetryPolicy
from edgeproof.client.sync import Edgeproof
from edgeproof.client.transport import ControlPlaneClient

__all__ = ["ControlPlaneClient", "Edgeproof", "RetryPolicy", "ServerAddress"]
