"""Which store a URL names, and what is told of one that names none."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from edgeproof.app.artifact_place import ARTIFACTS_VARIABLE, artifact_place, client_options, is_secret
from edgeproof.contract.errors import Refused
from edgeproof.server.storage.local_artifacts import LocalArtifacts
from edgeproof.server.storage.s3_artifacts import S3Artifacts


def test_without_a_url_it_is_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ARTIFACTS_VARIABLE, raising=False)
    assert isinstance(artifact_place(tmp_path), LocalArtifacts)
    assert (tmp_path / "artifacts" / "sha256").is_dir()


def test_a_file_url_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ARTIFACTS_VARIABLE, f"file://{tmp_path}/else")
    assert isinstance(artifact_place(tmp_path), LocalArtifacts)
    assert (tmp_path / "else" / "sha256").is_dir()


def test_an_s3_url_is_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ARTIFACTS_VARIABLE, "s3://bucket/a/prefix")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert isinstance(artifact_place(tmp_path), S3Artifacts)


def test_no_request_to_a_bucket_waits_for_ever_and_the_variables_still_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_CONNECT_TIMEOUT", "2s")
    options = client_options()
    assert options["read_timeout"] == timedelta(seconds=30)
    assert (options["allow_http"], options["connect_timeout"]) == ("true", "2s")


@pytest.mark.parametrize("url", ["http://x/y", "s3:///prefix", "file://host/x", "nonsense", "file://"])
def test_other_urls_are_refused(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ARTIFACTS_VARIABLE, url)
    with pytest.raises(Refused) as caught:
        artifact_place(tmp_path)
    assert (caught.value.code, ARTIFACTS_VARIABLE in caught.value.detail) == ("invalid_request", True)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("AWS_SECRET_ACCESS_KEY", True),
        (ARTIFACTS_VARIABLE, True),
        ("PATH", False),
        ("EDGEPROOF_TOKEN", False),
    ],
)
def test_the_stores_variables_are_the_control_planes_alone(name: str, secret: bool) -> None:
    assert is_secret(name) is secret
