"""What this runner has: backends and toolchains found through entry points, and the machine's facts."""

from __future__ import annotations

from typing import Final

BACKENDS: Final = "edgeproof.backends"
TOOLCHAINS: Final = "edgeproof.toolchains"
