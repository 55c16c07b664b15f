"""What a runner's process is given to work with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeproof.app.runner import cache_bytes
from edgeproof.testing.small_disk import can_mount, with_small_disk

TELL = """
import sys
from pathlib import Path
from edgeproof.app.runner import cache_bytes
home = Path(sys.argv[1])
bounds = [cache_bytes(home, None)]
(home / "inputs" / "kept").write_bytes(bytes(8 << 20))
bounds.append(cache_bytes(home, None))
(home / "others").write_bytes(bytes(8 << 20))
bounds.append(cache_bytes(home, None))
print(*(round(bound / (1 << 20)) for bound in bounds))
"""


@pytest.mark.skipif(not can_mount(), reason="needs a mount namespace")
def test_by_default_the_caches_leave_half_of_a_small_disk(tmp_path: Path) -> None:
    """32 MiB: what the caches hold already is theirs to have, what others hold is not."""
    command = with_small_disk(tmp_path, "32m", [sys.executable, "-c", TELL, str(tmp_path)])
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.split() == ["16", "16", "12"]


@pytest.mark.parametrize("asked", [0, 1 << 60])
def test_a_bound_that_was_asked_for_stands(tmp_path: Path, asked: int) -> None:
    assert cache_bytes(tmp_path / "home", asked) == asked
