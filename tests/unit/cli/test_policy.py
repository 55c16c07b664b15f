"""``policy check`` reads a file, needs no server and names every fault."""

import json
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeproof.cli.policy import policy
from edgeproof.contract.canonical import digest_of
from edgeproof.contract.errors import Refused
from edgeproof.lab.policies import default_policy

TEXT = (resources.files("edgeproof.lab.policies") / "edgeproof-default.toml").read_text(encoding="utf-8")


def check(path: Path, text: str, *words: str) -> str:
    path.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(policy, ["check", str(path), *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_good_policy_is_described_with_its_digest(tmp_path: Path) -> None:
    said = check(tmp_path / "policy.toml", TEXT)
    assert f"sha256:{digest_of(default_policy())}" in said
    assert "gate    p50 at most 3 % slower" in said
    for rule in default_policy().rules:
        assert f"{rule.decision:<20} {rule.id}: " in said


def test_as_json_it_is_the_policy(tmp_path: Path) -> None:
    told = json.loads(check(tmp_path / "policy.toml", TEXT, "--json"))
    assert told["digest"] == digest_of(default_policy())
    assert told["policy"]["name"] == "edgeproof-default"
    assert told["warnings"] == []


def test_a_gate_that_can_never_be_certified_is_warned_of(tmp_path: Path) -> None:
    gate = '[[latency.gates]]\nmetric = "p99"\nmargin_pct = 10.0\n\n[accuracy]'
    text = TEXT.replace("[accuracy]", gate, 1)
    (warning,) = json.loads(check(tmp_path / "policy.toml", text, "--json"))["warnings"]
    assert warning["path"] == "$.latency.gates[2]"
    assert (
        "p99 can never be certified: 16 process pairs have at most 160 blocks, and it takes 662"
        in (warning["message"])
    )
    assert f"warning: $.latency.gates[2]: {warning['message']}" in check(tmp_path / "policy.toml", text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("looks = [", "not TOML"),
        (TEXT.replace("looks = [8, 12, 16]", "looks = [12, 8]"), r"\$\.latency\.looks"),
        (TEXT.replace('metric = "p50"', 'metric = "p99"'), "p50 or p90"),
        ("#" * (1 << 20) + TEXT, "larger than any policy"),
    ],
)
def test_a_bad_policy_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(Refused, match=fault) as caught:
        check(tmp_path / "policy.toml", text)
    assert caught.value.code == "policy_invalid"


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(Refused, match="not UTF-8"):
        CliRunner().invoke(policy, ["check", str(tmp_path / "policy.toml")], catch_exceptions=False)
