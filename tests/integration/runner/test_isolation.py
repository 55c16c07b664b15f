"""Which isolation level this machine has is found by trying, and what is found is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeproof.app.doctor import examine
from edgeproof.runner.isolation import find
from edgeproof.runner.probe import ATTEMPTS


async def test_in_namespaces_a_probe_is_refused_everything() -> None:
    findings = await find()
    if findings.level != "namespaces":
        pytest.skip("this machine has no user namespaces")
    assert findings.refused == dict.fromkeys(ATTEMPTS, True)
    assert findings.reason == ""


def test_doctor_says_what_a_stage_was_refused(tmp_path: Path) -> None:
    report = examine(tmp_path)
    (check,) = [one for one in report.checks if one.name == "isolation"]
    assert check.detail.startswith(report.isolation)
    assert all(words in check.detail for words in ATTEMPTS.values())
    assert check.ok == (" could " not in check.detail)
    assert check.ok or check.remedy
