"""A run's numbers as rows: those of the statement, and null where it has none."""

from __future__ import annotations

import pytest
from msgspec import structs, to_builtins

from edgeproof.contract.run_metrics import JobMetrics
from edgeproof.lab.dossier import assemble
from edgeproof.lab.metric_rows import rows_of_build, rows_of_measurement
from edgeproof.testing.evidence import Scene, make_evidence

MADE = make_evidence(Scene(images=10, calls=3))
DOSSIER = assemble(MADE.documents, MADE.evidence, MADE.control_plane.public)
MEASURED = DOSSIER.measurement.predicate


def test_both_sides_have_the_numbers_that_were_signed() -> None:
    models, _ = rows_of_measurement("run", MEASURED)
    assert [one.row_key for one in models] == ["baseline", "candidate"]
    for row, signed in zip(models, (MEASURED.baseline, MEASURED.candidate), strict=True):
        assert (row.mean_ms, row.p50_ms, row.p99_ms) == (signed.mean_ms, signed.p50_ms, signed.p99_ms)
        assert row.model_id == signed.extra.runtime_artifact_sha256
        assert (row.score, row.score_metric) == (signed.accuracy.metrics["top1_accuracy"], "top1_accuracy")
        assert row.basis == signed.extra.measurement
        assert row.samples_per_second == signed.fps_value


def test_what_was_not_measured_is_null_and_not_zero() -> None:
    models, (device,) = rows_of_measurement("run", structs.replace(MEASURED))
    assert {models[0].tokens_per_second, models[0].time_to_first_token_ms, models[0].energy_joules} == {None}
    assert {device.energy_joules, device.power_limit_w, device.throttle_events} == {None}
    made = make_evidence(Scene(images=4, calls=1, blocks=1, accuracy=None))
    dossier = assemble(made.documents, made.evidence, made.control_plane.public)
    models, _ = rows_of_measurement("run", dossier.measurement.predicate)
    assert {(one.score, one.score_metric) for one in models} == {(None, None)}


@pytest.mark.parametrize(
    ("before", "after", "seconds"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:05:05.5Z", 60.5),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:04Z", None),
        ("2026-13-02T03:04:05Z", "2026-01-02T03:04:04Z", None),
    ],
)
def test_wall_time_is_the_devices_and_never_negative(before: str, after: str, seconds: float | None) -> None:
    measured = structs.replace(
        MEASURED,
        environment_before=structs.replace(MEASURED.environment_before, at=before, throttle_count=2),
        environment_after=structs.replace(MEASURED.environment_after, at=after, throttle_count=5),
    )
    models, (device,) = rows_of_measurement("run", measured)
    assert (models[0].wall_seconds, device.wall_seconds) == (seconds, seconds)
    assert device.throttle_events == 3


def test_a_build_is_one_row_of_its_model() -> None:
    build = DOSSIER.candidate_build
    artifact = build.subject[0].digest.sha256
    (row,) = rows_of_build("run", build.predicate, artifact)
    assert (row.row_key, row.model_id, row.precision) == ("candidate", artifact, "int8")
    (size,) = [
        one.size_bytes for one in build.predicate.buildDefinition.internalParameters.metadata.artifacts
    ]
    assert row.artifact_size_bytes == size
    assert row.mean_ms is None


def test_rows_are_told_with_percentiles_that_nothing_certifies() -> None:
    models, hardware = rows_of_measurement("run", MEASURED)
    told = to_builtins(JobMetrics(job_id="job", models=models, hardware=hardware))
    assert told["percentiles"] == "not_certified"
    assert told["models"][0]["p99_ms"] == MEASURED.baseline.p99_ms
