from edgeproof.client import Client as Client
from edgeproof.client import Job as Job

__version__: str
__all__ = ["Client", "Job", "__version__"]
