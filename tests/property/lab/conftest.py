"""One small evidence folder for all: small, so that every bit of it can be tried."""

import pytest

from edgeproof.testing.evidence import Scene
from edgeproof.testing.folder import EvidenceFolder, make_folder

SMALL = Scene(images=4, calls=1, blocks=1)


@pytest.fixture(scope="session")
def folder() -> EvidenceFolder:
    return make_folder(SMALL)
