"""Kept results and unsigned comparisons over real HTTP: whose they are, what is listed, what is compared."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from edgeproof import Client
from edgeproof.client import ControlPlaneClient
from edgeproof.contract.canonical import digest_of
from edgeproof.contract.errors import Refused
from edgeproof.contract.point_policy import ThresholdChanges
from edgeproof.contract.stored_results import CompareRequest, ResultDocument, ResultFilter
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.server.plane.principals import create_principal

BODY: dict[str, Any] = {
    "model_path": "models/yolov8n.onnx", "engine_backend": "onnxruntime", "device_name": "cpu",
    "precision": "fp32", "batch": 1, "height": 640, "width": 640,
    "mean_ms": 10.0, "p50_ms": 9.5, "p95_ms": 11.0, "p99_ms": 12.5, "timestamp": "2026-05-01T10:00:00Z",
    "run_config": {"warmup": 5, "runs": 50}, "system": {"os": "Linux", "machine": "x86_64"},
    "theirs": [1, 2.5],
}  # fmt: skip


def body(**changes: Any) -> dict[str, Any]:
    return {**BODY, **changes}


async def refused(work: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await work  # type: ignore[misc]  # any coroutine
    return caught.value


async def test_a_posted_result_is_kept_as_it_came(user: ControlPlaneClient) -> None:
    kept = await user.add_result(BODY)
    assert kept.result == BODY
    assert (kept.basis, kept.source, kept.job_id) == ("unsigned", "posted", None)
    assert (kept.model, kept.engine, kept.device) == ("models/yolov8n.onnx", "onnxruntime", "cpu")
    assert (kept.compare_key, kept.backend_key) == ("yolov8n__b1__h640w640__fp32", "onnxruntime__cpu")
    assert kept.digest == digest_of(BODY)
    assert kept.measured_at.startswith("2026-05-01T10:00:00")
    for reference in (kept.result_id, kept.digest, f"sha256:{kept.digest}"):
        assert await user.result(reference) == kept


async def test_the_same_result_again_is_the_same(user: ControlPlaneClient, admin: ControlPlaneClient) -> None:
    kept = await user.add_result(BODY)
    again = await asyncio.gather(*(user.add_result(BODY) for _ in range(5)))
    assert {one.result_id for one in again} == {kept.result_id}
    assert len((await user.results()).results) == 1
    (told,) = (await admin.audit(subject=kept.result_id)).entries
    assert (told.act, told.data) == ("result.added", {"result": kept.digest})
    assert told.actor.startswith("user-")


async def test_an_idempotency_key_stands_for_one_result(user: ControlPlaneClient) -> None:
    first = await user.add_result(BODY, idempotency_key="once")
    assert await user.add_result(BODY, idempotency_key="once") == first
    other = await refused(user.add_result(body(mean_ms=11.0), idempotency_key="once"))
    assert other.code == "conflict"
    assert len((await user.results()).results) == 1, "a refused result is not kept"


@pytest.mark.parametrize(
    "changes",
    [{"mean_ms": "fast"}, {"mean_ms": None}, {"mean_ms": 0}, {"p99_ms": -1}, {"batch": 0}, {"precision": 3}],
)
async def test_a_result_that_breaks_its_form_is_refused(
    user: ControlPlaneClient, changes: dict[str, Any]
) -> None:
    error = await refused(user.add_result(body(**changes)))
    assert error.code == "result_invalid"
    assert next(iter(changes)) in error.detail
    assert (await user.results()).results == ()


async def test_whose_results_they_are(
    user: ControlPlaneClient, other_user: ControlPlaneClient, admin: ControlPlaneClient
) -> None:
    kept = await user.add_result(BODY)
    for reference in (kept.result_id, kept.digest):
        assert (await refused(other_user.result(reference))).code == "not_found"
        request = CompareRequest(base_result=reference, new_result=BODY)
        assert (await refused(other_user.compare(request))).code == "unknown_result"
    assert (await other_user.results()).results == ()
    assert (await other_user.add_result(BODY)).result_id != kept.result_id
    assert {one.digest for one in (await admin.results()).results} == {kept.digest}
    assert len((await admin.results()).results) == 2
    assert (await admin.results(ResultFilter(owner="nobody"))).results == ()
    assert (await refused(admin.add_result(BODY))).code == "forbidden"


async def test_filters_and_pages(user: ControlPlaneClient) -> None:
    kept = [await user.add_result(body(mean_ms=10.0 + number)) for number in range(5)]
    int8 = await user.add_result(body(precision="INT8", engine_backend="TensorRT"))
    first = await user.results(limit=2)
    await user.add_result(body(mean_ms=99.0))
    second = await user.results(limit=2, cursor=first.next_cursor)
    third = await user.results(limit=2, cursor=second.next_cursor)
    seen = [one.result_id for page in (first, second, third) for one in page.results]
    assert seen == [int8.result_id, *(one.result_id for one in reversed(kept))]
    assert third.next_cursor is None
    for wanted, count in (
        (ResultFilter(precision="int8"), 1), (ResultFilter(engine="tensorrt"), 1),
        (ResultFilter(engine="onnxruntime", device="CPU"), 6), (ResultFilter(model="models/yolov8n.onnx"), 7),
        (ResultFilter(basis="signed"), 0), (ResultFilter(source="posted"), 7), (ResultFilter(job="x"), 0),
        (ResultFilter(compare_key=int8.compare_key), 1), (ResultFilter(backend_key="tensorrt__cpu"), 1),
    ):  # fmt: skip
        assert len((await user.results(wanted)).results) == count, wanted
    assert (await refused(user.results(cursor="x"))).code == "invalid_request"


# --- compare ----------------------------------------------------------------------------------------


async def test_bodies_ids_and_digests_compare_alike(user: ControlPlaneClient) -> None:
    base, new = await user.add_result(BODY), await user.add_result(body(mean_ms=8.0, p99_ms=10.0))
    asked = [
        CompareRequest(base_result=BODY, new_result=new.result),
        CompareRequest(base=base.result_id, new=new.result_id),
        CompareRequest(base_result=base.digest, new=f"sha256:{new.digest}"),
    ]
    bundles = [await user.compare(request) for request in asked]
    for bundle in bundles:
        assert bundle["basis"] == bundle["deployment_decision"]["basis"] == "unsigned"
        assert bundle["summary"]["overall"] == "improvement"
        assert "guard_analysis" not in bundle
    assert bundles[1]["comparison"] == bundles[0]["comparison"]
    assert bundles[2]["provenance"]["origin"]["new"]["result_id"] == new.result_id
    assert bundles[0]["provenance"]["origin"]["new"] == {"source": "request"}


async def test_by_query(user: ControlPlaneClient, raw: httpx.AsyncClient) -> None:
    base, new = await user.add_result(BODY), await user.add_result(body(mean_ms=8.0))
    response = await raw.get("/api/compare", params={"base": base.result_id, "new": new.digest})
    assert response.json()["comparison"]["result"]["mean_ms"]["delta"] == -2.0
    guarded = await raw.get(
        "/api/compare", params={"base": base.result_id, "new": new.digest, "with_guard": "true"}
    )
    assert guarded.json()["guard_analysis"]["status"] in ("ok", "warning", "error")
    unknown = await raw.get("/api/compare", params={"base": base.result_id, "new": "nothing"})
    assert (unknown.status_code, unknown.json()["code"]) == (400, "unknown_result")
    assert (await raw.get("/api/compare", params={"base": base.result_id})).status_code == 400


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "result.json"])
async def test_a_path_is_never_opened(user: ControlPlaneClient, raw: httpx.AsyncClient, path: str) -> None:
    request = CompareRequest(base=path, new=BODY)
    assert (await refused(user.compare(request))).code == "unknown_result"
    response = await raw.get("/api/compare", params={"base_path": path, "new_path": path})
    assert response.json()["code"] == "invalid_request"
    labelled = {"base_path": path, "new_path": None}
    posted = await raw.post("/api/compare", json={"base": BODY, "new": BODY, "metadata": labelled})
    assert posted.json()["metadata"] == {**labelled, "legacy_warning": None}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"policy": "edgeproof-default"}, "policy_needs_samples"),
        ({"policy": "nobodys"}, "unknown_policy"),
        ({"thresholds": {"latency_regress_pct": True}}, "invalid_request"),
        ({"thresholds": {"latency_improve_pct": 50}}, "invalid_request"),
        ({"base_result": BODY}, "invalid_request"),
        ({"new": None}, "invalid_request"),
        ({"new": body(mean_ms="fast")}, "result_invalid"),
        ({"guard_analysis": {"status": "perhaps"}}, "invalid_request"),
        ({"guard_analysis": {"status": "ok"}, "with_guard": True}, "invalid_request"),
    ],
)
async def test_what_cannot_be_compared_says_why(
    raw: httpx.AsyncClient, changes: dict[str, Any], code: str
) -> None:
    response = await raw.post("/api/compare", json={"base": BODY, "new": BODY, **changes})
    assert response.json()["code"] == code
    assert 400 <= response.status_code < 500


async def test_thresholds_and_guard_input_are_heard(user: ControlPlaneClient) -> None:
    guard = {"status": "ok", "theirs": "kept"}
    request = CompareRequest(
        base=BODY, new=body(mean_ms=8.0, p99_ms=10.0), guard_analysis=guard,
        thresholds=ThresholdChanges(latency_improve_pct=-50.0),
    )  # fmt: skip
    bundle = await user.compare(request)
    assert bundle["guard_analysis"] == guard
    decision = bundle["deployment_decision"]
    assert (decision["decision"], decision["basis"]) == ("deployable_with_note", "unsigned")
    assert decision["policy_version"] == "inferedge-v1-changed"


async def test_a_dry_run_is_kept_and_never_compared(user: ControlPlaneClient) -> None:
    dry = await user.add_result(body(mean_ms=0, p99_ms=0, extra={"worker_response_mode": "dry_run"}))
    assert dry.dry_run
    bundle = await user.compare(CompareRequest(base=BODY, new=dry.result_id, guard_analysis={"status": "ok"}))
    assert bundle["deployment_decision"]["decision"] == "unknown"


# --- the newest pair --------------------------------------------------------------------------------


def pair_of(bundle: dict[str, Any]) -> tuple[str, str]:
    origin = bundle["provenance"]["origin"]
    return origin["base"]["result_id"], origin["new"]["result_id"]


async def keep(user: ControlPlaneClient, day: int, **changes: Any) -> ResultDocument:
    return await user.add_result(body(timestamp=f"2026-05-{day:02d}T10:00:00Z", **changes))


async def test_the_newest_pair_by_its_own_times(user: ControlPlaneClient, raw: httpx.AsyncClient) -> None:
    assert (await raw.get("/api/compare-latest")).json()["code"] == "not_found"
    newest, older = await keep(user, 9), await keep(user, 3)
    await keep(user, 1)
    await keep(user, 20, mean_ms=0, p50_ms=0, p95_ms=0, p99_ms=0, extra={"dry_run": True})
    await keep(user, 21, batch=8)
    await keep(user, 22, device_name="cuda")
    await keep(user, 23, model_path="other.onnx")
    bundle = (await raw.get("/api/compare-latest")).json()
    assert pair_of(bundle) == (older.result_id, newest.result_id)
    assert bundle["execution_info"]["selection_mode"] == "same_precision"
    none = await raw.get("/api/compare-latest", params={"model": "other.onnx"})
    assert none.json()["code"] == "not_found"


async def test_the_newest_pair_of_two_precisions(user: ControlPlaneClient, raw: httpx.AsyncClient) -> None:
    fp32, int8 = await keep(user, 3), await keep(user, 5, precision="int8")
    await keep(user, 6, precision="INT8")
    cross = (await raw.get("/api/compare-latest", params={"selection_mode": "cross_precision"})).json()
    assert pair_of(cross)[0] == fp32.result_id
    assert cross["summary"]["precision_pair"] == "fp32_vs_int8"
    same = (await raw.get("/api/compare-latest")).json()
    assert pair_of(same)[0] == int8.result_id


async def test_a_time_in_the_future_is_the_time_it_was_kept(user: ControlPlaneClient) -> None:
    kept = await user.add_result(body(timestamp="2999-01-01T00:00:00Z"))
    assert kept.measured_at <= kept.created_at
    odd = await user.add_result(body(timestamp="yesterday"))
    assert odd.measured_at <= odd.created_at


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00Z", "0007-05-01T10:00:00Z", "9999-12-31T23:59:59.999999Z"]
)
async def test_a_time_at_the_edge_of_all_times_is_listed(user: ControlPlaneClient, at: str) -> None:
    kept = await user.add_result(body(timestamp=at))
    assert kept.measured_at == (at.replace("Z", ".000000Z") if at < kept.created_at else kept.measured_at)
    (listed,) = (await user.results()).results
    assert listed.measured_at == kept.measured_at <= listed.created_at


@pytest.mark.parametrize("name", ["compare_key", "backend_key", "model", "job", "owner"])
async def test_a_filter_that_the_database_cannot_hold_is_refused(raw: httpx.AsyncClient, name: str) -> None:
    answer = await raw.get("/api/results", params={name: "a\0b"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_others_results_are_no_partners(
    user: ControlPlaneClient, other_user: ControlPlaneClient, raw: httpx.AsyncClient
) -> None:
    await keep(user, 1)
    await keep(other_user, 2)
    assert (await raw.get("/api/compare-latest")).json()["code"] == "not_found"


# --- history ----------------------------------------------------------------------------------------


async def test_history_by_id_and_filter(user: ControlPlaneClient, raw: httpx.AsyncClient) -> None:
    late, early = await keep(user, 9, mean_ms=30.0), await keep(user, 3)
    await keep(user, 4, precision="int8")
    told = (await raw.get("/api/history", params={"id": early.result_id})).json()
    assert (told["count"], len(told["series"])) == (2, 1)
    (series,) = told["series"]
    assert [one["result_id"] for one in series["runs"]] == [early.result_id, late.result_id]
    assert series["guard_analysis"]["status"] == "warning", "a mean three times the other is told"
    assert early.result_id in told["rendered"]["html"]
    everything = (await raw.get("/api/history")).json()
    assert (everything["count"], len(everything["series"])) == (3, 2)
    int8 = (await raw.get("/api/history", params={"precision": "int8"})).json()
    assert int8["count"] == 1
    assert (await raw.get("/api/history", params={"id": "none"})).json()["code"] == "unknown_result"
    page = (await raw.get("/api/history", params={"limit": 2})).json()
    rest = (await raw.get("/api/history", params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert (page["count"], rest["count"], rest["next_cursor"]) == (2, 1, None)


async def test_the_sync_face_compares(server: ControlPlane, url: str) -> None:
    token = await create_principal(server, "user", "carol")

    def use() -> dict[str, Any]:
        with Client(url, token=token) as client:
            return client.compare(BODY, body(mean_ms=20.0), with_guard=True)

    bundle = await asyncio.to_thread(use)
    assert bundle["summary"]["overall"] == "regression"
