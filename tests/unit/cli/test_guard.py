"""``guard`` reads files, needs no server, and ends as its verdict says."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgeproof.cli.guard import guard
from edgeproof.contract.errors import Refused
from edgeproof.contract.guard import Diagnosis, read_guard_analysis

SOUND = {"class_id": 0, "confidence": 0.6, "bbox": [1, 2, 3, 4]}
FLAT = {**SOUND, "bbox": [1, 2, 0, 4]}


def asked(path: Path, found: Any, *words: str) -> Result:
    path.write_text(found if isinstance(found, str) else json.dumps(found), encoding="utf-8")
    return CliRunner().invoke(guard, [str(path), *words], standalone_mode=False, catch_exceptions=False)


def image(*found: Any) -> dict[str, Any]:
    return {"model": "m", "precision": "int8", "image_id": "1.jpg", "detections": found}


@pytest.mark.parametrize(
    ("found", "code", "says"),
    [
        ((SOUND,), 0, "ok (pass): No rule of the guard objects."),
        ((*[SOUND] * 9, FLAT), 3, "warning (review_required): 10 % of 10 boxes have no width"),
        ((FLAT,), 2, "error (blocked): 100 % of 1 boxes have no width"),
    ],
)
def test_it_says_every_rule_and_exits_by_the_verdict(
    tmp_path: Path, found: Any, code: int, says: str
) -> None:
    told = asked(tmp_path / "found.json", image(*found))
    assert told.return_value == code
    assert says in told.output
    for rule in ("bbox_collapse", "confidence_saturation", "detection_count_mismatch"):
        assert rule in told.output


def test_nothing_to_judge_is_for_a_person(tmp_path: Path) -> None:
    told = asked(tmp_path / "found.json", image())
    assert told.return_value == 3
    assert "skipped (skipped): The guard could not be evaluated: there is nothing in it" in told.output


def test_as_json_it_is_a_diagnosis(tmp_path: Path) -> None:
    told = asked(tmp_path / "found.json", image(FLAT), "--json")
    assert told.return_value == 2
    diagnosis = read_guard_analysis(json.loads(told.output))
    assert isinstance(diagnosis, Diagnosis)
    assert (diagnosis.guard_verdict, diagnosis.source) == ("blocked", "edgeproof guard")


@pytest.mark.parametrize(
    ("text", "code"),
    [("{", "invalid_json"), ('{"confidence": NaN}', "invalid_json"), ("{}", "invalid_request")],
)
def test_what_is_no_output_of_a_detector_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(Refused, match=r"odd\.json") as refused:
        asked(tmp_path / "odd.json", text)
    assert refused.value.code == code
