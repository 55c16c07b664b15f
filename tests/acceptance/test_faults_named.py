"""More named points (``test_faults`` has the first): each reply that may be lost, each process that may die.

The devices' agent is the real one; its work is simulated, so that a job takes a second. The system has no
runner of its own: whoever asks for work is the device of the test.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeproof.client import Client
from edgeproof.contract.jobs import JobView
from edgeproof.testing.weather import Chances

from .cutting_proxy import CuttingProxy
from .running_system import (
    Up,
    claimed_again,
    demand_done_once,
    demand_gone,
    edgeproof,
    free_port,
    kill,
    until,
    up,
)
from .simulated_device import Device, device, queue

pytestmark = pytest.mark.slow

CLAIM = r"/api/queue/claim$"
SUBMIT = r"/api/queue/[^/]+/submit$"
HEARTBEAT = r"/api/queue/[^/]+/heartbeat$"
FAIL = r"/api/queue/[^/]+/fail$"
ARTIFACT = r"/api/artifacts/sha256/"


@pytest.fixture(scope="module")
def wire() -> Iterator[CuttingProxy]:
    made = CuttingProxy()
    yield made
    made.close()


@pytest.fixture(scope="module")
def bare(
    copy_of_initialised: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory, wire: CuttingProxy
) -> Iterator[Up]:
    wire.upstream = free_port()
    with up(
        copy_of_initialised(tmp_path_factory.mktemp("bare")),
        *("--port", str(wire.upstream), "--public-url", f"http://127.0.0.1:{wire.port}", "--no-runner"),
        # Longer than a busy machine needs to start a killed server again.
        *("--lease-seconds", "10", "--heartbeat-seconds", "0.5"),
    ) as started:
        yield started


@pytest.fixture
def user(bare: Up, wire: CuttingProxy) -> Client:
    """Past the wire: what befalls the device does not befall who watches."""
    return bare.client(f"http://127.0.0.1:{wire.upstream}#{bare.ready.fingerprint}")


@pytest.fixture
def one(bare: Up, tmp_path: Path) -> Iterator[Device]:
    with device(bare, tmp_path / "home") as made:
        yield made


def kill_server(system: Up) -> None:
    victim = system.child("server")
    demand_gone([victim, *kill(victim)])


def kill_postgres(system: Up) -> None:
    victim = system.child("postgres")
    demand_gone([victim, *kill(victim)])
    system.successor("postgres", victim)


def attempts(job: JobView) -> list[int]:
    return sorted(run.attempt for run in job.runs)


def test_a_server_killed_after_a_claim_before_the_reply(
    bare: Up, user: Client, wire: CuttingProxy, one: Device, tmp_path: Path
) -> None:
    claim = wire.swallow_reply("POST", CLAIM)
    job_id = queue(user, tmp_path)
    one.start()
    claim.wait()
    assert claim.reply.startswith(b"HTTP/1.1 200 "), claim.reply
    kill_server(bare)
    claim.cut()
    # Nobody knows of that lease: the next claim ends it, and the run is done at the second attempt.
    assert attempts(demand_done_once(user, job_id)) == [1, 1, 2]


def test_a_runner_killed_after_a_claim_before_the_reply(
    user: Client, wire: CuttingProxy, one: Device, tmp_path: Path
) -> None:
    claim = wire.swallow_reply("POST", CLAIM)
    job_id = queue(user, tmp_path)
    one.start()
    claim.wait()
    one.again()
    claim.cut()
    assert attempts(demand_done_once(user, job_id)) == [1, 1, 2]


def test_a_server_killed_after_a_job_was_accepted_before_the_reply(
    bare: Up, wire: CuttingProxy, one: Device, tmp_path: Path
) -> None:
    """Who asked asks again with the same key, and there is one job."""
    through = bare.client()
    before = {job.job_id for job in through.jobs().jobs}
    accepted = wire.swallow_reply("POST", r"/api/analyze$")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(queue, through, tmp_path)
        accepted.wait()
        kill_server(bare)
        accepted.cut()
        job_id = asking.result(60)
    assert {job.job_id for job in through.jobs().jobs} - before == {job_id}
    one.start()
    demand_done_once(through, job_id)


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_server_killed_after_a_transfer_before_the_reply(
    bare: Up, user: Client, wire: CuttingProxy, one: Device, tmp_path: Path, method: str
) -> None:
    transfer = wire.swallow_reply(method, ARTIFACT)
    job_id = queue(user, tmp_path)
    one.start()
    transfer.wait()
    kill_server(bare)
    transfer.cut()
    assert attempts(demand_done_once(user, job_id)) == [1, 1, 1]


def test_an_upload_that_never_arrives(user: Client, wire: CuttingProxy, one: Device, tmp_path: Path) -> None:
    upload = wire.hold("PUT", ARTIFACT)
    job_id = queue(user, tmp_path)
    one.start()
    upload.wait()
    upload.cut()
    assert attempts(demand_done_once(user, job_id)) == [1, 1, 1]


@pytest.mark.parametrize("arrived", [False, True])
def test_a_runner_killed_with_a_finished_result_amid_its_upload(
    user: Client, wire: CuttingProxy, one: Device, tmp_path: Path, arrived: bool
) -> None:
    """What it made lies in its outbox by then, and nothing of it is made again."""
    upload = (wire.swallow_reply if arrived else wire.hold)("PUT", ARTIFACT)
    job_id = queue(user, tmp_path)
    one.start()
    upload.wait()
    assert one.outbox != []
    one.kill()
    upload.cut()
    one.start()
    assert attempts(demand_done_once(user, job_id)) == [1, 1, 1]
    assert one.outbox == []


def test_a_server_killed_while_a_heartbeat_is_on_its_way(
    bare: Up, user: Client, wire: CuttingProxy, one: Device, tmp_path: Path
) -> None:
    beat = wire.hold("POST", HEARTBEAT)
    job_id = queue(user, tmp_path)
    one.start()
    beat.wait()
    kill_server(bare)
    beat.cut()
    assert attempts(demand_done_once(user, job_id)) == [1, 1, 1]


def test_postgresql_killed_after_upload_before_submit(
    bare: Up, user: Client, wire: CuttingProxy, one: Device, tmp_path: Path
) -> None:
    submit = wire.hold("POST", SUBMIT)
    job_id = queue(user, tmp_path)
    one.start()
    submit.wait()
    kill_postgres(bare)
    submit.cut()
    demand_done_once(user, job_id)
    assert one.outbox == []


def test_postgresql_killed_after_commit_before_the_reply(
    bare: Up, user: Client, wire: CuttingProxy, one: Device, tmp_path: Path
) -> None:
    submit = wire.swallow_reply("POST", SUBMIT)
    job_id = queue(user, tmp_path)
    one.start()
    submit.wait()
    assert submit.reply.startswith(b"HTTP/1.1 200 "), submit.reply
    kill_postgres(bare)
    submit.cut()
    assert attempts(demand_done_once(user, job_id)) == [1, 1, 1]


def test_a_runner_killed_after_its_result_was_accepted_before_it_knew(
    user: Client, wire: CuttingProxy, one: Device, tmp_path: Path
) -> None:
    submit = wire.swallow_reply("POST", SUBMIT)
    job_id = queue(user, tmp_path)
    one.start()
    submit.wait()
    assert submit.reply.startswith(b"HTTP/1.1 200 "), submit.reply
    (kept,) = one.outbox
    one.kill()
    submit.cut()
    again = wire.swallow_reply("POST", SUBMIT)
    one.start()
    again.wait()
    # The same bytes with the same nonce, to the same answer.
    assert again.request == submit.request
    assert again.reply.startswith(b"HTTP/1.1 200 "), again.reply
    assert kept.exists()
    again.cut()
    assert attempts(demand_done_once(user, job_id)) == [1, 1, 1]
    assert one.outbox == []


def test_a_server_killed_after_a_registration_before_the_reply(
    bare: Up, user: Client, wire: CuttingProxy, one: Device, tmp_path: Path
) -> None:
    """The token may be spent by then: the key is on the allowlist all the same."""
    challenge = wire.hold("POST", r"/api/runners/register$")
    job_id = queue(user, tmp_path)
    one.start()
    challenge.wait()
    proof = wire.swallow_reply("POST", r"/api/runners/register$")
    challenge.forward()
    proof.wait()
    assert b" 201 " in proof.reply[:15] or b" 200 " in proof.reply[:15], proof.reply
    kill_server(bare)
    proof.cut()
    demand_done_once(user, job_id)


def test_a_runner_killed_after_it_handed_back_before_the_reply(
    bare: Up, user: Client, wire: CuttingProxy, tmp_path: Path
) -> None:
    with device(bare, tmp_path / "slow", step_seconds=20) as slow:
        back = wire.swallow_reply("POST", FAIL)
        job_id = queue(user, tmp_path)
        slow.start()
        run = until(
            lambda: next((r for r in user.job(job_id).view.runs if r.state == "CLAIMED"), None), "work"
        )
        assert slow.process is not None
        slow.process.send_signal(signal.SIGTERM)
        back.wait()
        assert back.reply.startswith(b"HTTP/1.1 200 "), back.reply
        slow.kill()
        back.cut()
    with device(bare, tmp_path / "quick") as quick:
        quick.start()
        job = demand_done_once(user, job_id)
    assert [one.attempt for one in job.runs if one.run_id == run.run_id] == [2]


def test_a_connection_that_is_cut_for_longer_than_the_lease(
    bare: Up, user: Client, wire: CuttingProxy, tmp_path: Path
) -> None:
    """The run is taken from who fell silent; when it comes back with a result, that is refused."""
    with device(bare, tmp_path / "cut") as cut, device(bare, tmp_path / "other", step_seconds=1.5) as other:
        other.dial(f"http://127.0.0.1:{wire.upstream}")
        late = wire.hold("POST", SUBMIT)
        job_id = queue(user, tmp_path)
        cut.start()
        late.wait()
        with wire.severed():
            other.start()
            claimed_again(user, job_id, late.run_id, attempt=2)
        late.forward()
        assert late.reply.startswith(b"HTTP/1.1 409 "), late.reply
        job = demand_done_once(user, job_id)
        until(lambda: cut.outbox == [], "the late result was dropped")
    assert [run.attempt for run in job.runs if run.run_id == late.run_id] == [2]


def test_calls_that_all_arrive_twice_and_again_later(bare: Up, user: Client, tmp_path: Path) -> None:
    always = Chances(doubled=1.0, late=1.0, delay_seconds=0.02, late_seconds=2.0)
    with device(bare, tmp_path / "home", chances=always) as one:
        one.start()
        jobs = [queue(user, tmp_path) for _ in range(3)]
        for job_id in jobs:
            assert attempts(demand_done_once(user, job_id)) == [1, 1, 1]


def test_a_key_that_is_revoked_amid_its_run(
    bare: Up, user: Client, wire: CuttingProxy, tmp_path: Path
) -> None:
    """Its finished result is not taken any more; the run goes to another, and the job is done once."""
    with device(bare, tmp_path / "revoked") as revoked, device(bare, tmp_path / "other") as other:
        late = wire.hold("POST", SUBMIT)
        job_id = queue(user, tmp_path)
        revoked.start()
        late.wait()
        key = revoked.home.signing_key().public.fingerprint
        words = ("fleet", "keys", "remove", key, "--reason", "lost", "--data-dir", str(bare.data_dir))
        removed = edgeproof(*words)
        assert removed.returncode == 0, removed.stderr
        late.forward()
        assert late.reply.split(b" ")[1] in (b"401", b"403", b"409"), late.reply
        other.start()
        job = demand_done_once(user, job_id)
        assert {run.runner_id for run in job.runs if run.run_id == late.run_id} == {other.runner_id}


_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long off(void) { return atol(getenv("CLOCK_OFF")); }
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, t);
    if (result == 0 && id == CLOCK_REALTIME) t->tv_sec += off();
    return result;
}
time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *t, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""


@pytest.fixture(scope="module")
def wrong_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that moves a process's wall clock by ``CLOCK_OFF`` seconds."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(_CLOCK)
    library = folder / "clock.so"
    made = [compiler, "-shared", "-fPIC", "-o", str(library), str(folder / "clock.c"), "-ldl"]
    subprocess.run(made, check=True)
    return library


@pytest.mark.parametrize("days", [1, -1])
def test_a_device_whose_clock_is_a_day_off(
    bare: Up, user: Client, tmp_path: Path, wrong_clock: Path, days: int
) -> None:
    off = {"LD_PRELOAD": str(wrong_clock), "CLOCK_OFF": str(days * 86_400)}
    with device(bare, tmp_path / "home", **off) as one:
        one.start()
        job_id = queue(user, tmp_path)
        job = demand_done_once(user, job_id)
        assert attempts(job) == [1, 1, 1]
        assert (
            until(lambda: one.last_contact, "it tells when it was last answered")[:10] != job.created_at[:10]
        )
