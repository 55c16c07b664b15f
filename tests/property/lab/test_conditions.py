"""Whatever the numbers: where conditions differ, a slowdown is no regression, and form decides nothing."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgeproof.contract.plain_results import read_plain_result
from edgeproof.lab.conditions import stated
from edgeproof.lab.guard.points import analyse_points
from edgeproof.lab.inferedge import compare_points, decide_points

CONDITIONS: dict[str, Any] = {
    "power_mode": st.sampled_from([None, "15W", "25W", 15]),
    "jetson_clocks": st.sampled_from([None, True, False]),
    "intra_threads": st.sampled_from([None, 1, 4]),
    "input_mode": st.sampled_from([None, "dummy", "image"]),
    "runs": st.sampled_from([None, 50, 500]),
}
RESULT = st.fixed_dictionaries(
    {
        "model": st.just("m"),
        "engine": st.sampled_from(["onnxruntime", "tensorrt"]),
        "device": st.sampled_from(["cpu", "jetson"]),
        "precision": st.sampled_from(["fp32", "fp16", "FP16", "int8"]),
        "mean_ms": st.floats(0.01, 1e4),
        "p99_ms": st.none() | st.floats(0.01, 1e4),
        "run_config": st.none() | st.fixed_dictionaries(CONDITIONS),
        "accuracy": st.none()
        | st.fixed_dictionaries({"metrics": st.fixed_dictionaries({"f1": st.floats(0, 1)})}),
    }
)


@given(RESULT, RESULT)
def test_latency_is_never_read_as_a_regression_where_conditions_differ(
    base: dict[str, Any], new: dict[str, Any]
) -> None:
    one, other = read_plain_result(base), read_plain_result(new)
    told = compare_points(one, other)
    judged = told.judgement
    assert (judged.comparability == "yes") == (not told.unlike)
    if told.unlike:
        assert "regression" not in (judged.mean_ms, judged.p99_ms)
        assert judged.overall != "tradeoff_slower"
        same_inputs = stated(one, "input_source") == stated(other, "input_source")
        assert judged.overall != "regression" or (judged.accuracy == "regression" and same_inputs)
        assert judged.accuracy != "regression" or same_inputs
    guard = analyse_points(one, other, told)
    conditions = next(item for item in guard.evidence if item.type == "unreliable_comparison")
    assert (conditions.status == "passed") == (not told.unlike)
    decision = decide_points(told, guard)
    assert decision.basis == "unsigned"
    if told.unlike:
        assert decision.decision != "deployable"


@given(RESULT)
def test_a_result_against_itself_is_neutral(value: dict[str, Any]) -> None:
    one = read_plain_result(value)
    assert compare_points(one, one).judgement.overall == "neutral"
