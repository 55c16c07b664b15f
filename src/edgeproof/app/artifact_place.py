"""Where the control plane keeps artifact bytes: ``EDGEPROOF_ARTIFACTS_URL``, else the data folder.

``s3://BUCKET[/PREFIX]`` takes endpoint, region and credentials from the usual ``AWS_*`` variables. They are
the control plane's alone: ``up`` hands them to no other process.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from edgeproof.contract.errors import Refused
from edgeproof.server.storage.artifact_store import ArtifactStore
from edgeproof.server.storage.local_artifacts import LocalArtifacts

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

ARTIFACTS_VARIABLE: Final = "EDGEPROOF_ARTIFACTS_URL"
_PREFIX: Final = "AWS_"

# What is read may take long, but not stall: a bound on the whole request would cut large downloads. Tries and
# all, a store that says nothing is given up within a minute.
_PATIENCE: Final[ClientConfig] = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),
    "timeout": timedelta(hours=1),
}
_RETRIES: Final[RetryConfig] = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
# Given options replace all that the environment says of the client: these are handed on.
_FROM_ENVIRONMENT: Final = (
    "allow_http",
    "allow_invalid_certificates",
    "proxy_url",
    "proxy_ca_certificate",
    "proxy_excludes",
    "user_agent",
    "connect_timeout",
    "read_timeout",
    "timeout",
)


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


def client_options() -> ClientConfig:
    """How the object store is spoken to: our patience, and what ``AWS_*`` variables say of the client."""
    told = {name: os.environ.get(_PREFIX + name.upper()) for name in _FROM_ENVIRONMENT}
    return cast("ClientConfig", {**_PATIENCE, **{name: value for name, value in told.items() if value}})


def _bucket(bucket: str, prefix: str) -> ArtifactStore:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        from edgeproof.server.storage.s3_artifacts import S3Artifacts
    except ModuleNotFoundError as error:
        raise Refused("invalid_request", "for s3:// install edgeproof[s3]") from error
    try:
        store = S3Store(bucket, prefix=prefix or None, client_options=client_options(), retry_config=_RETRIES)
        return S3Artifacts(store)
    except BaseError as error:
        raise Refused("invalid_request", f"the object store: {str(error).splitlines()[0][:300]}") from error
