"""The one HTTP transport to a control plane: async for us, with a thin sync face for users.

``ControlPlaneClient`` speaks every route with typed messages; ``Client`` is its sync face and ``Job`` a
handle on one job. Nothing here decides what to run or what a result means.
"""

from edgeproof.client.address import ServerAddress
from edgeproof.client.exchange import RetryPolicy
from edgeproof.client.job import Job
from edgeproof.client.sync_client import Client
from edgeproof.client.transport import ControlPlaneClient

__all__ = ["Client", "ControlPlaneClient", "Job", "RetryPolicy", "ServerAddress"]
