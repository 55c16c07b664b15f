"""What ``import edgeproof`` gives, and what it must not cost."""

from __future__ import annotations

import subprocess
import sys

import edgeproof
import edgeproof.client

HEAVY = ("httpx", "cryptography", "jinja2", "numpy", "onnxruntime", "litestar", "asyncpg")


def test_the_public_names() -> None:
    assert edgeproof.__all__ == ["Client", "Job", "__version__"]
    assert edgeproof.Client is edgeproof.client.Client
    assert edgeproof.Job is edgeproof.client.Job
    assert not hasattr(edgeproof, "Edgeproof")


def test_importing_the_package_imports_nothing_heavy() -> None:
    look = f"import sys, edgeproof; print([one for one in {HEAVY!r} if one in sys.modules])"
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
