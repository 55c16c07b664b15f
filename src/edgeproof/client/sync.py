"""``Edgeproof``: the sync face that users import. A private thread runs the one async client.

::

    with Edgeproof("http://127.0.0.1:8470", token=token) as edgeproof:
        job = edgeproof.analyze("model.onnx", options={"preset": "int8_static", "calibration": uri})
        job = edgeproof.wait(job.job_id)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from edgeproof.client.address import ServerAddress
from edgeproof.client.exchange import RetryPolicy
from edgeproof.client.transport import ControlPlaneClient
from edgeproof.contract.jobs import JobEvent, JobView
from edgeproof.contract.requests import AnalyzeRequest

T = TypeVar("T")

OnEvent = Callable[[JobEvent], None]


class Edgeproof:
    """A context manager around one control plane. Every method blocks; errors are the contract's."""

    def __init__(
        self,
        address: ServerAddress | str,
        *,
        token: str | None = None,
        retry: RetryPolicy | None = None,
        ca_file: str | None = None,
    ) -> None:
        self._client = ControlPlaneClient(address, token=token, retry=retry, ca_file=ca_file)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="edgeproof-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections and the thread. May be called twice."""
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def upload(self, path: str | Path) -> str:
        """Uploads a file; returns the name by which requests refer to it, ``sha256:<hex>``."""
        info = self._run(self._client.publish(Path(path)))
        return f"sha256:{info.digest}"

    def analyze(
        self,
        model: str | Path,
        *,
        options: dict[str, Any] | None = None,
        notes: str | None = None,
        job_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> JobView:
        """Queues an analysis of ``model``: a file, which is uploaded, or ``sha256:<hex>``."""
        name = model if isinstance(model, str) and model.startswith("sha256:") else self.upload(model)
        request = AnalyzeRequest(job_id=job_id, model_path=name, notes=notes, options=options or {})
        return self._run(self._client.analyze(request, idempotency_key=idempotency_key))

    def job(self, job_id: str) -> JobView:
        return self._run(self._client.job(job_id))

    def wait(self, job_id: str, on_event: OnEvent | None = None) -> JobView:
        """Blocks until the job has ended; ``on_event`` sees every event, in the client's thread."""
        return self._run(self._wait(job_id, on_event))

    def cancel(self, job_id: str) -> JobView:
        return self._run(self._client.cancel(job_id))

    def evidence(self, job_id: str, folder: str | Path) -> list[Path]:
        """Downloads everything the job's decision rests on into ``folder``; returns the files.

        A file is named ``<kind>-<digest>.json``; its bytes are exactly those signed or measured.
        """
        return self._run(self._evidence(job_id, Path(folder)))

    async def _wait(self, job_id: str, on_event: OnEvent | None) -> JobView:
        async for event in self._client.events(job_id):
            if on_event is not None:
                on_event(event)
        return await self._client.job(job_id)

    async def _evidence(self, job_id: str, folder: Path) -> list[Path]:
        listed = await self._client.evidence(job_id)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        files = []
        for item in listed.items:
            file = folder / f"{item.kind}-{item.digest}.json"
            await self._client.download(item.digest, file)
            files.append(file)
        return files

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise
