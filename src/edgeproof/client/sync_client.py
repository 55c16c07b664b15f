"""``edgeproof.Client``: the sync face that users import. A private thread runs the one async client.

::

    with edgeproof.Client("http://127.0.0.1:8765", token=token) as client:
        job = client.analyze("model.onnx", calibration="calibration.npz", options={"preset": "int8_static"})
        print(job.wait(progress=print).status, job.decision)
        job.report("report.html")
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgeproof.client.address import ServerAddress
from edgeproof.client.exchange import RetryPolicy
from edgeproof.client.job import Job
from edgeproof.client.loop_thread import LoopThread
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobPage, JobStatus
from edgeproof.contract.point_policy import ThresholdChanges
from edgeproof.contract.requests import AnalyzeRequest
from edgeproof.contract.stored_results import CompareRequest

File = str | Path
"""A file, which is uploaded, or ``sha256:<hex>``, which was."""


class Client:
    """One control plane, blocking; a context manager.

    Raises ``edgeproof.contract.errors.Refused`` or ``Unavailable`` with the server's stable ``code``. What
    is safe to repeat is repeated with growing pauses (``retry``): every read, and a creating call under its
    ``Idempotency-Key``.
    """

    def __init__(
        self,
        address: ServerAddress | str | None = None,
        *,
        token: str | None = None,
        retry: RetryPolicy | None = None,
        ca_file: str | None = None,
    ) -> None:
        """``address`` is ``URL`` or ``URL#sha256:<server key>``, which pins the key.

        What is not given comes from ``EDGEPROOF_SERVER``, ``EDGEPROOF_TOKEN`` and ``EDGEPROOF_CA_FILE``.
        """
        chosen = address or os.environ.get("EDGEPROOF_SERVER")
        if not chosen:
            raise Refused("server_unreachable", "no control plane: give its address or set EDGEPROOF_SERVER")
        self._client = ControlPlaneClient(
            chosen,
            token=token or os.environ.get("EDGEPROOF_TOKEN"),
            retry=retry,
            ca_file=ca_file or os.environ.get("EDGEPROOF_CA_FILE"),
        )
        self._thread = LoopThread()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections and the thread. May be called twice."""
        if not self._thread.closed:
            self._thread.run(self._client.close())
            self._thread.close()

    def upload(self, path: File) -> str:
        """Uploads a file; returns the name by which requests refer to it, ``sha256:<hex>``."""
        if isinstance(path, str) and path.startswith("sha256:"):
            return path
        return f"sha256:{self._thread.run(self._client.publish(Path(path))).digest}"

    def analyze(
        self,
        model: File,
        *,
        baseline: File | None = None,
        calibration: File | None = None,
        dataset: File | None = None,
        options: dict[str, Any] | None = None,
        notes: str | None = None,
        job_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Uploads what is a file and queues an analysis of ``model``.

        ``options`` are those of ``POST /api/analyze``. ``baseline`` is measured as it is. Repeating with
        the same ``idempotency_key`` and request gives the same job.
        """
        asked = dict(options or {})
        named = isinstance(model, str) and model.startswith("sha256:")
        if not named:
            asked["provenance"] = {"model_name": Path(model).stem, **(asked.get("provenance") or {})}
        if baseline is not None:
            asked["baseline"] = {"model_path": self.upload(baseline), "preset": "source"}
        if calibration is not None:
            asked["calibration"] = self.upload(calibration)
        if dataset is not None:
            asked["dataset"] = self.upload(dataset)
        request = AnalyzeRequest(job_id=job_id, model_path=self.upload(model), notes=notes, options=asked)
        view = self._thread.run(self._client.analyze(request, idempotency_key=idempotency_key))
        return Job(self._client, self._thread, view)

    def job(self, job_id: str) -> Job:
        """A job that exists. Raises ``Refused`` (``not_found``)."""
        return Job(self._client, self._thread, self._thread.run(self._client.job(job_id)))

    def jobs(
        self, *, status: JobStatus | None = None, cursor: str | None = None, limit: int | None = None
    ) -> JobPage:
        """One page, newest first; pass its ``next_cursor`` for the next one."""
        return self._thread.run(self._client.jobs(status=status, cursor=cursor, limit=limit))

    def compare(
        self,
        base: dict[str, Any] | str,
        new: dict[str, Any] | str,
        *,
        guard_analysis: dict[str, Any] | None = None,
        with_guard: bool = False,
        policy: str = "inferedge-v1",
        thresholds: dict[str, float] | None = None,
    ) -> dict[str, Any]:
        """Two results, each a body or the id or digest of a kept one; the whole response bundle.

        The decision is unsigned, whatever it says. ``thresholds`` are those of ``ThresholdChanges``.
        """
        request = CompareRequest(
            base_result=base,
            new_result=new,
            guard_analysis=guard_analysis,
            with_guard=with_guard,
            policy=policy,
            thresholds=ThresholdChanges(**(thresholds or {})),
        )
        return self._thread.run(self._client.compare(request))
