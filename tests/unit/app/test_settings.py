"""What ``up`` is told reaches the control plane's settings, through its process's configuration."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeproof.app.serve import ServeConfig, settings_of
from edgeproof.app.up import serve_config
from edgeproof.cli.use_cases import UpOptions
from edgeproof.server.plane.control_plane import Settings


def settings(options: UpOptions) -> Settings:
    """By the same road as between the two processes."""
    sent = msgspec.json.encode(serve_config(options, options.data_dir, 7411))
    return settings_of(msgspec.json.decode(sent, type=ServeConfig))


def test_what_is_not_said_is_the_control_planes_default(tmp_path: Path) -> None:
    assert settings(UpOptions(data_dir=tmp_path)) == Settings(public_url="http://127.0.0.1:7411")


def test_what_is_said_arrives(tmp_path: Path) -> None:
    options = UpOptions(
        data_dir=tmp_path,
        public_url="https://control.example/",
        lease_seconds=60,
        heartbeat_seconds=5,
        stage_lease_seconds=(("forge", 120), ("runtime", 300)),
        quarantine_after=0,
        max_attempts=7,
        upload_quota_bytes=8 << 30,
        artifact_ttl_seconds=7200,
        events_kept_seconds=86_400,
        idempotency_kept_seconds=172_800,
        metrics_open=True,
        dev=True,
    )
    arrived = settings(options)
    assert arrived == Settings(
        public_url="https://control.example",
        lease_seconds=60,
        heartbeat_seconds=5,
        stage_lease_seconds={"forge": 120, "runtime": 300},
        quarantine_after=0,
        max_attempts=7,
        upload_quota_bytes=8 << 30,
        artifact_ttl_seconds=7200,
        events_kept_seconds=86_400,
        idempotency_kept_seconds=172_800,
        metrics_open=True,
        dev=True,
    )
    assert [arrived.lease_of(stage) for stage in ("forge", "runtime", "tune")] == [120, 300, 60]
    assert arrived.longest_lease() == 300
