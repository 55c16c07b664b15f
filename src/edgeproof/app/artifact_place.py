"""Where the control plane keeps artifact bytes: ``EDGEPROOF_ARTIFACTS_URL``, else the data folder.

``s3://BUCKET[/PREFIX]`` takes endpoint, region and credentials from the usual ``AWS_*`` variables. They are
the control plane's alone: ``up`` hands them to no other process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from edgeproof.contract.errors import Refused
from edgeproof.server.storage.artifact_store import ArtifactStore
from edgeproof.server.storage.local_artifacts import LocalArtifacts

ARTIFACTS_VARIABLE: Final = "EDGEPROOF_ARTIFACTS_URL"
_PREFIX: Final = "AWS_"


def artifact_place(data_dir: Path) -> ArtifactStore:
    """Raises ``Refused`` (``invalid_request``) for a URL that names no store of ours."""
    url = os.environ.get(ARTIFACTS_VARIABLE)
    if not url:
        return LocalArtifacts(data_dir / "artifacts")
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return LocalArtifacts(Path(parts.path))
    if parts.scheme != "s3" or not parts.netloc:
        raise Refused(
            "invalid_request", f"{ARTIFACTS_VARIABLE} is neither s3://BUCKET[/PREFIX] nor file:///PATH"
        )
    return _bucket(parts.netloc, parts.path.strip("/"))


def is_secret(variable: str) -> bool:
    """Whether an environment variable is about the artifact store and nobody else's."""
    return variable == ARTIFACTS_VARIABLE or variable.startswith(_PREFIX)


def _bucket(bucket: str, prefix: str) -> ArtifactStore:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        from edgeproof.server.storage.s3_artifacts import S3Artifacts
    except ModuleNotFoundError as error:
        raise Refused("invalid_request", "for s3:// install edgeproof[s3]") from error
    try:
        return S3Artifacts(S3Store(bucket, prefix=prefix or None))
    except BaseError as error:
        raise Refused("invalid_request", f"the object store: {str(error).splitlines()[0][:300]}") from error
