"""A run's numbers as rows."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, PrimaryKeyConstraint, Table, Text

from edgeproof.server.schema.columns import metadata, one_of, text_column

Table(
    "run_model_metrics",
    metadata,
    text_column("run_id", ForeignKey("runs.run_id")),
    text_column("row_key"),
    text_column("model_id"),
    text_column("model_name"),
    text_column("precision"),
    text_column("backend"),
    text_column("target"),
    text_column("basis"),
    Column("score", Double),
    Column("score_metric", Text),
    Column("mean_ms", Double),
    Column("p50_ms", Double),
    Column("p95_ms", Double),
    Column("p99_ms", Double),
    Column("samples", BigInteger),
    Column("samples_per_second", Double),
    Column("tokens_per_second", Double),
    Column("time_to_first_token_ms", Double),
    Column("energy_joules", Double),
    Column("wall_seconds", Double),
    Column("peak_memory_bytes", BigInteger),
    Column("artifact_size_bytes", BigInteger),
    PrimaryKeyConstraint("run_id", "row_key"),
    one_of("basis", "measured", "estimated", "simulated"),
)

Table(
    "run_hardware_metrics",
    metadata,
    text_column("run_id", ForeignKey("runs.run_id")),
    text_column("row_key"),
    text_column("device_kind"),
    text_column("device_name"),
    text_column("basis"),
    Column("memory_bytes", BigInteger),
    Column("peak_memory_bytes", BigInteger),
    Column("temperature_c", Double),
    Column("throttle_events", BigInteger),
    Column("power_limit_w", Double),
    Column("energy_joules", Double),
    Column("energy_source", Text),
    Column("wall_seconds", Double),
    PrimaryKeyConstraint("run_id", "row_key"),
    one_of("basis", "measured", "estimated", "simulated"),
)
