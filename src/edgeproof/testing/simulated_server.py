"""``SimulatedServer``: a control plane in memory, with the port that runners dial (``runner/port.py``).

It ships for tests of runners, ours and our users'. What it holds as the real one does: registration is
needed for every call and can be made to expire; every claim mints a lease and a job spec signed for it;
heartbeat, submit, fail, upload and download are fenced by run, attempt and token; a submit counts under an
expired lease until the run is reaped, a heartbeat does not; an outcome is stored once, the same submission
again gets the same answer, another one ``different_outcome``; a runner reads only what its run names and
writes no more than its spec allows; signatures, binding, inputs and uploads of a result are checked; a claim
ends the leases that it does not name, and one that says that its runner is unfit gets no work until
``release``.

What it does not do: wall-clock time (a lease lasts until ``expire`` or ``reap``), requirement classes, job
states, deciding. It answers in the calling task and never sleeps; ``turned`` is set at every change.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

from edgeproof.client.exchange import NotOurs
from edgeproof.contract.canonical import canonical, sha256_hex
from edgeproof.contract.envelope import PublicKey, SigningKey
from edgeproof.contract.errors import Refused, Unavailable
from edgeproof.contract.jobs import Progress, RunState
from edgeproof.contract.runners import (
    MAX_HOLDING,
    Capabilities,
    ClaimedRun,
    ClaimRequest,
    FailRequest,
    FailResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    RegisterResponse,
    RunnerStanding,
    SubmitResponse,
)
from edgeproof.contract.statements import (
    BuildStatement,
    ForgeConfig,
    JobSpec,
    JobSpecStatement,
    MeasurementStatement,
    RunLimits,
    RuntimeConfig,
    StageConfig,
    open_statement,
    resource,
)
from edgeproof.domain.runs import MAX_ATTEMPTS, Lease, after_lease_ended, new_lease
from edgeproof.lab.chain import check_binding

Verb = Literal["register", "claim", "heartbeat", "submit", "fail", "upload", "download"]

DEFAULT_LIMITS: Final = RunLimits(max_seconds=120, max_memory_bytes=2 << 30, max_upload_bytes=64 << 20)
_THEN: Final = "2030-01-01T00:00:00Z"


@dataclass
class SimulatedRun:
    """A run as the control plane sees it; tests read it, runners never do.

    ``envelopes`` and ``failures`` are what was accepted; ``submissions`` counts what arrived.
    """

    run_id: str
    config: StageConfig
    limits: RunLimits
    state: RunState = "PENDING"
    attempt: int = 0
    lease: Lease | None = None
    claim_number: int = 0
    expired: bool = False
    cancel_requested: bool = False
    spec: JobSpec | None = None
    spec_bytes: bytes = b""
    envelopes: list[bytes] = field(default_factory=list)
    failures: list[FailRequest] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    uploads: set[str] = field(default_factory=set)
    submissions: int = 0
    outcome: tuple[Lease, str] | None = None


class SimulatedServer:
    """One control plane and one runner's connection to it. ``artifacts`` are bytes by digest."""

    def __init__(self, *, heartbeat_seconds: float = 0.05, key: SigningKey | None = None) -> None:
        self.key = key or SigningKey.generate()
        self.artifacts: dict[str, bytes] = {}
        self.runs: dict[str, SimulatedRun] = {}
        self.calls: list[Verb] = []
        self.turned = asyncio.Event()
        self.unfit: str | None = None
        self._heartbeat_seconds = heartbeat_seconds
        self._runner: PublicKey | None = None
        self._token_good = False
        self._absent: dict[Verb, int] = {}
        self._lost: dict[Verb, int] = {}
        self._refused: dict[Verb, tuple[int, str]] = {}
        self._foreign: dict[Verb, int] = {}

    # --- what a test arranges --------------------------------------------------------------------

    def keep(self, data: bytes) -> str:
        """Store an artifact and tell its digest."""
        digest = sha256_hex(data)
        self.artifacts[digest] = data
        return digest

    def add(self, config: StageConfig, limits: RunLimits = DEFAULT_LIMITS) -> SimulatedRun:
        """Queue a run."""
        run = SimulatedRun(f"run-{len(self.runs) + 1}", config, limits)
        self.runs[run.run_id] = run
        self._turn()
        return run

    def absent(self, calls: int, verb: Verb) -> None:
        """The next ``calls`` calls of ``verb`` find nobody there."""
        self._absent[verb] = calls

    def lose_replies(self, calls: int, verb: Verb) -> None:
        """The next ``calls`` calls of ``verb`` are done, but their answers never arrive."""
        self._lost[verb] = calls

    def refuse(self, calls: int, verb: Verb, code: str) -> None:
        """The next ``calls`` calls of ``verb`` are refused with ``code``."""
        self._refused[verb] = calls, code

    def foreign(self, calls: int, verb: Verb) -> None:
        """The next ``calls`` calls of ``verb`` are answered by somebody between, with no problem document."""
        self._foreign[verb] = calls

    def release(self) -> None:
        """An operator releases the runner that said that it is unfit."""
        self.unfit = None
        self._turn()

    def expire_token(self) -> None:
        """Every call is ``unauthenticated`` until the runner registers again."""
        self._token_good = False

    def expire(self, run: SimulatedRun) -> None:
        """The lease has run out but nobody has reaped it: heartbeats are stale, a submit still counts."""
        run.expired = True

    def reap(self, run: SimulatedRun) -> None:
        """The lease is over; the run waits for its next attempt, or has failed."""
        self._end_lease(run, retryable=True)

    def cancel(self, run: SimulatedRun) -> None:
        """The next heartbeat says so."""
        run.cancel_requested = True

    async def until(self, run: SimulatedRun, *states: RunState) -> None:
        """Wait until ``run`` is in one of ``states``."""
        while run.state not in states:
            self.turned.clear()
            await self.turned.wait()

    async def until_progress(self, run: SimulatedRun) -> None:
        """Wait until a heartbeat told of progress."""
        while not run.progress:
            self.turned.clear()
            await self.turned.wait()

    # --- the port --------------------------------------------------------------------------------

    async def register(
        self, key: SigningKey, capabilities: Capabilities, enrolment_token: str | None
    ) -> RegisterResponse:
        self._arrive("register", authenticated=False)
        self._runner = key.public
        self._token_good = True
        self._leave("register")
        return RegisterResponse(
            runner_id="runner-1",
            token=secrets.token_hex(8),
            expires_at=_THEN,
            server_key=self.key.public.base64,
        )

    async def claim(self, request: ClaimRequest) -> ClaimedRun | None:
        answer = await self.claim_or_standing(request)
        return answer if isinstance(answer, ClaimedRun) else None

    async def claim_or_standing(self, request: ClaimRequest) -> ClaimedRun | RunnerStanding:
        self._arrive("claim")
        if request.holding is not None and len(request.holding) > MAX_HOLDING:
            raise Refused("invalid_request", "a claim names no more")
        leased = [run for run in self.runs.values() if run.state == "CLAIMED"]
        if request.number is not None and any(run.claim_number >= request.number for run in leased):
            return self._standing
        self.unfit = request.unfit or self.unfit
        for held in leased:
            if request.holding is not None and held.run_id not in request.holding:
                self._end_lease(held, retryable=True)
        while (run := self._next()) is None:
            if not request.wait_seconds:
                return self._standing
            self.turned.clear()
            await self.turned.wait()
        claimed = self._lease(run)
        run.claim_number = request.number or 0
        self._leave("claim")
        return claimed

    async def heartbeat(self, run_id: str, lease: Lease, request: HeartbeatRequest) -> HeartbeatResponse:
        self._arrive("heartbeat")
        run = self._fenced(run_id, lease)
        if run.expired:
            raise Refused("stale_lease", run_id)
        if request.progress is not None:
            run.progress.append(request.progress)
        if request.status is not None:
            run.statuses.append(request.status)
        if request != HeartbeatRequest():
            self._turn()
        self._leave("heartbeat")
        return HeartbeatResponse(cancel_requested=run.cancel_requested, lease_expires_at=_THEN)

    async def submit(self, run_id: str, lease: Lease, envelope: bytes) -> SubmitResponse:
        self._arrive("submit")
        run = self.runs[run_id]
        run.submissions += 1
        digest = sha256_hex(envelope)
        if not self._told_before(run, lease, digest):
            self._fenced(run_id, lease)
            self._check(run, envelope)
            run.envelopes.append(envelope)
            run.outcome = lease, digest
            self._move(run, "COMPLETE")
        self._leave("submit")
        return SubmitResponse(run_id=run_id, state=run.state, evidence_digest=digest)

    async def fail(self, run_id: str, lease: Lease, request: FailRequest) -> FailResponse:
        self._arrive("fail")
        run = self.runs[run_id]
        digest = sha256_hex(b"fail\0" + msgspec.json.encode(request, order="sorted"))
        if not self._told_before(run, lease, digest):
            self._fenced(run_id, lease)
            run.failures.append(request)
            run.outcome = lease, digest
            self._end_lease(run, retryable=request.retryable)
        self._leave("fail")
        return FailResponse(run_id=run_id, state=run.state)

    async def upload(self, path: Path, digest: str, *, run_id: str, lease: Lease) -> None:
        self._arrive("upload")
        run = self._fenced(run_id, lease)
        data = path.read_bytes()
        if sha256_hex(data) != digest:
            raise Refused("artifact_digest_mismatch", digest)
        if len(data) > run.limits.max_upload_bytes:
            raise Refused("body_too_large", digest)
        self.artifacts[digest] = data
        run.uploads.add(digest)
        self._leave("upload")

    async def download(self, digest: str, path: Path, *, run_id: str, lease: Lease) -> None:
        self._arrive("download")
        run = self._fenced(run_id, lease)
        if digest not in _inputs(run.config).values() or digest not in self.artifacts:
            raise Refused("not_found", digest)
        path.write_bytes(self.artifacts[digest])
        self._leave("download")

    # ---------------------------------------------------------------------------------------------

    def _arrive(self, verb: Verb, *, authenticated: bool = True) -> None:
        self.calls.append(verb)
        self._turn()
        if self._absent.get(verb, 0) > 0:
            self._absent[verb] -= 1
            raise Unavailable("server_unreachable", f"{verb}: nobody is there")
        if self._foreign.get(verb, 0) > 0:
            self._foreign[verb] -= 1
            raise NotOurs("invalid_request", f"{verb}: 404 without a problem document")
        if authenticated and not self._token_good:
            raise Refused("unauthenticated")
        calls, code = self._refused.get(verb, (0, ""))
        if calls > 0:
            self._refused[verb] = calls - 1, code
            raise Refused(code, verb)

    def _leave(self, verb: Verb) -> None:
        if self._lost.get(verb, 0) > 0:
            self._lost[verb] -= 1
            raise Unavailable("server_unreachable", f"{verb}: the answer is lost")

    @property
    def _standing(self) -> RunnerStanding:
        return "active" if self.unfit is None else "quarantined"

    def _next(self) -> SimulatedRun | None:
        if self.unfit is not None:
            return None
        return next((run for run in self.runs.values() if run.state == "PENDING"), None)

    def _lease(self, run: SimulatedRun) -> ClaimedRun:
        assert self._runner is not None
        run.attempt += 1
        run.lease, run.expired = new_lease(run.attempt), False
        run.spec = JobSpec(
            run_id=run.run_id,
            job_id="job-1",
            stage="forge" if isinstance(run.config, ForgeConfig) else "runtime",
            attempt=run.attempt,
            lease_digest=run.lease.digest,
            runner_key=self._runner.base64,
            control_plane_key=self.key.public.base64,
            model="model",
            tasks=("task",),
            config=run.config,
            policy_digest=sha256_hex(b"policy"),
            limits=run.limits,
            issued_at=_THEN,
            expires_at=_THEN,
        )
        subject = tuple(resource(name, digest) for name, digest in _inputs(run.config).items())
        run.spec_bytes = self.key.seal(canonical(JobSpecStatement(subject=subject, predicate=run.spec)))
        self._move(run, "CLAIMED")
        return ClaimedRun(
            run_id=run.run_id,
            job_id="job-1",
            stage=run.spec.stage,
            attempt=run.attempt,
            lease_token=run.lease.token,
            lease_expires_at=_THEN,
            heartbeat_seconds=self._heartbeat_seconds,
            job_spec=run.spec_bytes.decode(),
        )

    def _fenced(self, run_id: str, lease: Lease) -> SimulatedRun:
        run = self.runs[run_id]
        if (
            run.state != "CLAIMED"
            or run.lease is None
            or not secrets.compare_digest(run.lease.header(), lease.header())
        ):
            raise Refused("stale_lease", run_id)
        return run

    def _told_before(self, run: SimulatedRun, lease: Lease, digest: str) -> bool:
        """Whether this very submission ended the lease. Raises ``Refused`` when another one did."""
        if run.outcome is None or run.outcome[0] != lease:
            return False
        if run.outcome[1] != digest:
            raise Refused("different_outcome", run.run_id)
        return True

    def _check(self, run: SimulatedRun, envelope: bytes) -> None:
        """What the control plane demands of a result before it is stored. Raises ``Refused``."""
        assert self._runner is not None
        assert run.spec is not None
        named: set[str]
        if isinstance(run.config, ForgeConfig):
            build = open_statement(envelope, self._runner, BuildStatement, what="build")
            binding = build.predicate.buildDefinition.internalParameters.binding
            config: StageConfig = build.predicate.buildDefinition.externalParameters.config
            named = {one.digest.sha256 for one in build.subject}
        else:
            measured = open_statement(envelope, self._runner, MeasurementStatement, what="measurement")
            binding, config = measured.predicate.binding, measured.predicate.config
            named = {measured.predicate.raw_samples, measured.predicate.raw_quality}
        check_binding(binding, sha256_hex(run.spec_bytes), run.spec, "result")
        if config != run.config:
            raise Refused("result_invalid", "made for another configuration")
        if missing := named - run.uploads:
            raise Refused("artifact_missing", min(missing))

    def _end_lease(self, run: SimulatedRun, *, retryable: bool) -> None:
        run.lease = None
        self._move(
            run,
            after_lease_ended(
                run.attempt, MAX_ATTEMPTS, retryable=retryable, cancel_requested=run.cancel_requested
            ),
        )

    def _move(self, run: SimulatedRun, state: RunState) -> None:
        run.state = state
        self._turn()

    def _turn(self) -> None:
        self.turned.set()


def _inputs(config: ForgeConfig | RuntimeConfig) -> Mapping[str, str]:
    if isinstance(config, ForgeConfig):
        named = {"source": config.source, "calibration": config.calibration}
    else:
        named = {
            "baseline": config.baseline.artifact,
            "candidate": config.candidate.artifact,
            "dataset": config.dataset,
        }
    return {name: digest for name, digest in named.items() if digest is not None}
