"""The packaged policy, pinned; and what a wrong policy gets."""

from importlib import resources

import pytest

from edgeproof.contract.canonical import digest_of
from edgeproof.contract.errors import Refused
from edgeproof.lab.policies import default_policy, parse_policy

TEXT = (resources.files("edgeproof.lab.policies") / "edgeproof-default.toml").read_text(encoding="utf-8")


def test_the_default_policy_is_pinned() -> None:
    """A change of the default policy is a change of what users trust: raise ``version`` with it."""
    policy = default_policy()
    assert (policy.name, policy.version) == ("edgeproof-default", 4)
    assert digest_of(policy) == "92f3bc6b1434ff3cc831204f7cba931bf2a93b08eb0585addb52f66fae09482b"


def test_the_default_gates() -> None:
    policy = default_policy()
    assert {gate.metric: gate.margin_pct for gate in policy.latency.gates} == {"p50": 3.0, "p90": 5.0}
    assert policy.latency.looks == (8, 12, 16)
    assert (policy.latency.confidence, policy.accuracy.confidence, policy.accuracy.margin_pp) == (
        0.95,
        0.95,
        1.0,
    )


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ("margin_pct = 3.0", 'margin_pct = "3"', "$.latency.gates[0].margin_pct", "Expected `float`"),
        ("margin_pct = 3.0", "margin_pct = -3.0", "$.latency.gates[0].margin_pct", "> 0"),
        ("margin_pct = 3.0", "margin_pct = nan", "$.latency.gates[0].margin_pct", "> 0"),
        ("min_cosine = 0.99", "min_cosine = inf", "$.agreement.min_cosine", "<= 1"),
        ("[accuracy]", "[accuracy]\ncolour = 1", "$.accuracy", "unknown field `colour`"),
        ("version = 4\n", "", "$", "missing required field `version`"),
        ("looks = [8, 12, 16]", "looks = [12, 8]", "$.latency.looks", "must increase"),
        ("looks = [8, 12, 16]", "looks = [4]", "$.latency.looks[0]", ">= 8"),
        ('metric = "p90"', 'metric = "p50"', "$.latency.gates", "two gates"),
        ('metric = "p90"', 'metric = "p98"', "$.latency.gates[1].metric", "Invalid enum value 'p98'"),
        ('metric = "p50"', 'metric = "p99"', "$.latency.gates[0].metric", "p50 or p90"),
        ("confidence = 0.95 # of all", "confidence = 0.999999 #", "$.latency.confidence", "no interval"),
        ("warning = 0.05", "warning = 0.9", "$.guard.disagreement_warning", "above"),
        ("pp_warning = 1.0", "pp_warning = 9.0", "$.guard.accuracy_drop_pp_warning", "above"),
        ('guard = ["error"]', 'guard = ["bad"]', "$.rules[0].when.guard", "never 'bad'; it is one of ok"),
        ('guard = ["error"]', "guard = []", "$.rules[0].when.guard", "never fire"),
        ('guard = ["error"]', 'gard = ["error"]', "$.rules[0].when", "no fact 'gard'"),
        ('"shape_mismatch_review"', '"guard_error_block"', "$.rules[0].id", "used 2 times"),
        ('decision = "blocked"', 'decision = "stop"', "$.rules[0].decision", "Invalid enum value 'stop'"),
    ],
)
def test_a_wrong_policy_is_told_where_and_why(old: str, new: str, path: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(Refused) as caught:
        parse_policy(TEXT.replace(old, new, 1))
    assert caught.value.code == "policy_invalid"
    assert caught.value.errors[0].path == path
    assert message in caught.value.errors[0].message
    assert path in caught.value.detail


def test_every_violation_is_listed() -> None:
    text = TEXT.replace("looks = [8, 12, 16]", "looks = [12, 8]").replace('guard = ["error"]', "guard = []")
    with pytest.raises(Refused, match=r"and 1 more") as caught:
        parse_policy(text)
    assert [error.path for error in caught.value.errors] == ["$.latency.looks", "$.rules[0].when.guard"]


def test_not_toml() -> None:
    with pytest.raises(Refused, match="not TOML") as caught:
        parse_policy("looks = [")
    assert caught.value.code == "policy_invalid"
