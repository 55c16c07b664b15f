"""``edgeproof submit FILE`` over real HTTP: a result from a runner's outbox, delivered by hand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from click.testing import CliRunner, Result

from edgeproof.app.commands import WiredUseCases
from edgeproof.cli.main import cli
from edgeproof.client import ControlPlaneClient
from edgeproof.contract.canonical import sha256_hex
from edgeproof.contract.envelope import SigningKey
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.runners import ClaimedRun, ClaimRequest
from edgeproof.domain.runs import Lease
from edgeproof.runner.outbox import Outbox, PendingResult
from edgeproof.server.plane.control_plane import ControlPlane
from edgeproof.testing.answers import answer

from .conftest import CAPABILITIES


async def deliver(file: Path, url: str, token: str | None) -> Result:
    arguments = ["submit", str(file), "--server", url, "--token", token or "", "--json"]
    return await asyncio.to_thread(CliRunner().invoke, cli, arguments, obj=WiredUseCases(None))


async def claimed_by(client: ControlPlaneClient, key: SigningKey, token: str) -> ClaimedRun:
    await client.register(key, CAPABILITIES, token)
    claimed = await client.claim(ClaimRequest(wait_seconds=5))
    assert claimed is not None
    return claimed


async def test_a_result_from_the_outbox_is_delivered_once(
    server: ControlPlane, url: str, admin: ControlPlaneClient, user: ControlPlaneClient,
    other_user: ControlPlaneClient, tmp_path: Path,
) -> None:  # fmt: skip
    model = (await user.upload_bytes(b"a model")).digest
    job = await user.analyze(AnalyzeRequest(model_path=f"sha256:{model}"))
    key = SigningKey.generate()
    pin = server.keys.signing.public.fingerprint
    async with ControlPlaneClient(f"{url}#{pin}") as runner:
        claimed = await claimed_by(runner, key, await admin.create_enrolment_token())
        lease = Lease(claimed.attempt, claimed.lease_token)
        made = answer(claimed.job_spec.encode(), key)
        for data in made.uploads:
            await runner.upload_bytes(data, run_id=claimed.run_id, lease=lease)
    Outbox(tmp_path).put(
        PendingResult(
            run_id=claimed.run_id,
            attempt=claimed.attempt,
            lease_token=claimed.lease_token,
            envelope=made.envelope.decode(),
        ),
        {},
    )
    (file,) = tmp_path.glob("*.json")
    refused = await deliver(file, url, other_user.token)
    assert (refused.exit_code, "stale_lease" in refused.output) == (1, True)
    for _ in range(2):
        delivered = await deliver(file, url, user.token)
        assert delivered.exit_code == 0, delivered.output
        told = msgspec.json.decode(delivered.output)
        assert (told["state"], told["evidence_digest"]) == ("COMPLETE", sha256_hex(made.envelope))
    (row,) = (await user.metrics(job.job_id)).models
    assert row.run_id == claimed.run_id


async def test_a_file_that_is_no_result_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"run_id": "x"}')
    refused = await deliver(file, "http://127.0.0.1:9", None)
    assert (refused.exit_code, "invalid_request" in refused.output) == (1, True)
