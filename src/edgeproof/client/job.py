"""``Job``: a handle on one job of a control plane, blocking. It decides nothing about the job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edgeproof.client.loop_thread import LoopThread
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.errors import Refused
from edgeproof.contract.jobs import JobEvent, JobStatus, JobView

OnEvent = Callable[[JobEvent], None]

MAX_DRAWN_BYTES: Final = 256 << 20
_DRAWN: Final = ("samples", "quality")


class Job:
    """``view`` is the job as it was last seen: at creation, or by the last call here."""

    def __init__(self, client: ControlPlaneClient, thread: LoopThread, view: JobView) -> None:
        self._client = client
        self._thread = thread
        self.view = view

    def __repr__(self) -> str:
        return f"Job({self.job_id!r}, status={self.status!r}, decision={self.decision!r})"

    @property
    def job_id(self) -> str:
        return self.view.job_id

    @property
    def status(self) -> JobStatus:
        return self.view.status

    @property
    def decision(self) -> str | None:
        """``deployable``, ``blocked``, ``review_required`` or ``unknown``; None while there is none.

        Only a ``signed`` basis (``view.result["deployment_decision"]["basis"]``) may let a model through.
        """
        told = (self.view.result or {}).get("deployment_decision") or {}
        decision: str | None = told.get("decision")
        return decision

    def refresh(self) -> JobView:
        """Looks again."""
        self.view = self._thread.run(self._client.job(self.job_id))
        return self.view

    def wait(self, progress: OnEvent | None = None, *, timeout: float | None = None) -> JobView:
        """Blocks until the job has ended; ``progress`` sees every event, in the client's thread.

        Raises ``TimeoutError`` after ``timeout`` seconds; the job goes on.
        """
        self.view = self._thread.run(self._wait(progress), timeout)
        return self.view

    def cancel(self) -> JobView:
        """Asks for it; the job is cancelled once none of its runs is leased. ``wait`` sees that."""
        self.view = self._thread.run(self._client.cancel(self.job_id))
        return self.view

    def report(self, path: str | Path | None = None) -> str:
        """The report of the ended job as one HTML page; also written to ``path``.

        Charts need ``edgeproof[report]``. Raises ``Refused`` (``conflict``) before the job has ended.
        """
        from edgeproof.lab.report import ReportJob, candidate_name, render_html

        view = self.refresh()
        if view.status not in ("completed", "failed", "cancelled"):
            raise Refused("conflict", f"job {self.job_id} is {view.status}: wait for its end")
        documents = self._thread.run(self._drawn()) if view.status == "completed" else {}
        page = render_html([ReportJob(candidate=candidate_name(view), job=view, documents=documents)])
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def evidence(self, folder: str | Path) -> list[Path]:
        """Downloads everything the job's decision rests on into ``folder``; returns the files.

        A file is named ``<kind>-<digest>.json``; its bytes are exactly those signed or measured.
        """
        return self._thread.run(self._evidence(Path(folder)))

    async def _wait(self, progress: OnEvent | None) -> JobView:
        async for event in self._client.events(self.job_id):
            if progress is not None:
                progress(event)
        return await self._client.job(self.job_id)

    async def _drawn(self) -> dict[str, bytes]:
        items = (await self._client.evidence(self.job_id)).items
        return {
            item.digest: await self._client.fetch(item.digest, max_bytes=MAX_DRAWN_BYTES)
            for item in items
            if item.kind in _DRAWN
        }

    async def _evidence(self, folder: Path) -> list[Path]:
        listed = await self._client.evidence(self.job_id)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        files = []
        for item in listed.items:
            file = folder / f"{item.kind}-{item.digest}.json"
            await self._client.download(item.digest, file)
            files.append(file)
        return files
