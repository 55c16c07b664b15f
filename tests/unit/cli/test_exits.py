import pytest

from edgeproof.cli import exits
from edgeproof.contract.jobs import JobView, Withdrawal

AT = "2026-01-02T03:04:05Z"
WITHDRAWN = Withdrawal(
    at=AT,
    by="admin-1",
    reason="the key was stolen",
    runner_key="A" * 43 + "=",
    compromised_since=AT,
    signed_decision="deployable",
)


def job(decision=None, **given):
    result = None if decision is None else {"deployment_decision": decision}
    told = {
        "status": "running" if decision is None else "completed",
        "result": result,
        "error": None,
        **given,
    }
    return JobView(
        job_id="j", created_at=AT, updated_at=AT, input_summary={}, links={}, next_actions=(), **told
    )


@pytest.mark.parametrize(
    "decision", ["deployable", "deployable_with_note", "blocked", "review_required", "unknown"]
)
@pytest.mark.parametrize("basis", ["unsigned", None, "SIGNED"])
def test_nothing_but_a_signed_decision_is_ever_more_than_review(decision, basis):
    told = job({"decision": decision, "basis": basis})
    assert exits.of_job(told) == exits.of_reading(told) == exits.REVIEW


@pytest.mark.parametrize(
    ("decision", "code"),
    [
        ("deployable", 0),
        ("deployable_with_note", 0),
        ("blocked", 2),
        ("review_required", 3),
        ("unknown", 3),
        ("ok", 3),
    ],
)
def test_a_signed_decision_exits_as_the_design_says(decision, code):
    assert exits.of_job(job({"decision": decision, "basis": "signed"})) == code


def test_a_job_without_a_decision_is_an_error_to_who_waits_for_one_and_none_to_who_looks():
    assert exits.of_job(job()) == exits.ERROR
    assert exits.of_reading(job()) == 0


def test_looking_at_a_signed_decision_is_0_until_it_is_withdrawn():
    decision = {"decision": "deployable", "basis": "signed"}
    assert exits.of_reading(job(decision)) == 0
    assert exits.of_reading(job(decision, withdrawn=WITHDRAWN)) == exits.REVIEW
