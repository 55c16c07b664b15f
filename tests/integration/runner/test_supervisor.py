"""Real children, really confined, that misbehave in every way we know; nothing of them is left behind."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from edgeproof.contract.errors import StageFailed
from edgeproof.contract.jobs import Progress
from edgeproof.contract.runners import FailRequest, Isolation
from edgeproof.contract.statements import ForgeConfig, RunLimits
from edgeproof.runner.home import RunnerHome
from edgeproof.runner.isolation import child_environment, detect
from edgeproof.runner.stage import OUTCOME_FILE, StageError, Task
from edgeproof.runner.supervisor import run_stage

CONFIG = ForgeConfig(
    role="candidate",
    backend="onnxruntime",
    target="cpu",
    preset="source",
    precision="unknown",
    source="0" * 64,
    source_name="model.onnx",
    calibration=None,
    input_shapes={},
    batch=None,
    height=None,
    width=None,
)
GRANDCHILD = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open('grandchild', 'w').close()
        if len(sys.argv) > 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)
    os._exit(0)
while not os.path.exists('grandchild'):
    time.sleep(0.01)
"""


class Bench:
    """Runs code as a stage in a runner's home."""

    def __init__(self, folder: Path, level: Isolation) -> None:
        self.home = RunnerHome(folder / "home")
        self.level: Isolation = level
        self.progress: list[Progress] = []
        self.workspace = self.home.new_workspace()

    async def run(
        self, code: str, *arguments: str, seconds: int = 20, memory: int = 1 << 30, uploads: int = 1 << 24
    ) -> StageFailed:
        with pytest.raises(StageFailed) as caught:
            await run_stage(
                Task(config=CONFIG, inputs={}, build_cache=None),
                self.workspace,
                hide=self.home.hidden,
                level=self.level,
                limits=RunLimits(max_seconds=seconds, max_memory_bytes=memory, max_upload_bytes=uploads),
                on_progress=self.progress.append,
                command=(sys.executable, "-I", "-c", code, *arguments),
            )
        return caught.value

    def left(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.workspace):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    async def until_nothing_is_left(self) -> None:
        """The kernel reaps a namespace a moment after its first process."""
        async with asyncio.timeout(10):
            while self.left():
                await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def best() -> Isolation:
    return asyncio.run(detect())


@pytest.fixture(params=["none", "rlimit", "namespaces"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path, best: Isolation) -> AsyncIterator[Bench]:
    if request.param == "namespaces" and best != "namespaces":
        pytest.skip("this machine has no user namespaces")
    made = Bench(tmp_path, request.param)
    yield made
    await made.until_nothing_is_left()


@pytest.fixture
async def limited(tmp_path: Path, best: Isolation) -> AsyncIterator[Bench]:
    """At the best level of this machine."""
    made = Bench(tmp_path, best)
    yield made
    await made.until_nothing_is_left()


def outcome(told: FailRequest) -> str:
    encoded = msgspec.json.encode(StageError(failure=told)).decode()
    return f"open({OUTCOME_FILE!r}, 'w').write({encoded!r})"


def failure(code: str, **changes: object) -> FailRequest:
    told = FailRequest(code=code, message="words", fault="user", retryable=False)
    return msgspec.structs.replace(told, **changes)


async def test_a_stage_that_never_ends_hits_the_time_limit(bench: Bench) -> None:
    error = await bench.run("import time; time.sleep(600)", seconds=1)
    assert error.code == "time_limit"


async def test_a_crash_tells_its_last_words_and_may_be_tried_again(bench: Bench) -> None:
    error = await bench.run("import sys; sys.exit('last words')")
    assert (error.code, error.fault, error.retryable) == ("stage_crashed", "infrastructure", True)
    assert error.evidence == ({"stderr": "last words"},)


@pytest.mark.parametrize(
    "death", ["os.kill(os.getpid(), signal.SIGKILL)", "os.abort()", "ctypes.string_at(0)"]
)
async def test_a_death_by_signal_counts_as_too_much_memory(bench: Bench, death: str) -> None:
    if bench.level == "namespaces" and "SIGKILL" in death:
        # The first process of a namespace cannot kill itself; the kernel's memory killer can.
        death = "libc = ctypes.CDLL(None); libc.prctl(1, 0); os.abort()"
    error = await bench.run(f"import ctypes, os, signal; {death}")
    assert error.code == "memory_limit"


async def test_allocating_beyond_the_limit_is_a_memory_error(limited: Bench) -> None:
    error = await limited.run("x = bytearray(2 << 30)", memory=512 << 20)
    assert error.code == "memory_limit"
    assert "ran out of memory" in error.detail


async def test_memory_of_many_processes_counts_together(bench: Bench) -> None:
    code = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        kept = bytearray(os.urandom(1 << 20) * 60)
        time.sleep(600)
time.sleep(600)
"""
    started = time.monotonic()
    error = await bench.run(code, memory=256 << 20)
    assert error.code == "memory_limit"
    assert "more than" in error.detail
    assert time.monotonic() - started < 10


async def test_shared_memory_counts_too(limited: Bench) -> None:
    code = """
import mmap, time
kept = mmap.mmap(-1, 400 << 20)
for at in range(0, 400 << 20, 4096):
    kept[at] = 1
time.sleep(600)
"""
    assert (await limited.run(code, memory=256 << 20)).code == "memory_limit"


async def test_noise_is_ignored_and_progress_is_relayed(limited: Bench) -> None:
    code = """
import sys
out = sys.stdout
out.write('hello\\n{"completed": 1, "unit": "steps"}\\n')
out.write('{"completed": -1, "unit": "steps"}\\n{"completed": 1e400, "unit": "steps"}\\n')
out.write('[' * 100000 + '\\n')
out.write('x' * 3_000_000 + '\\n')
out.buffer.write(b'\\xff\\xfe\\n')
out.buffer.flush()
out.write('{"completed": 2, "total": 2, "unit": "steps"}\\n')
""" + outcome(failure("model_invalid"))
    error = await limited.run(code)
    assert (error.code, error.detail) == ("model_invalid", "words")
    assert [one.completed for one in limited.progress] == [1, 2]


@pytest.mark.parametrize("stopped", [False, True])
async def test_grandchildren_end_with_a_stage_that_ended(bench: Bench, stopped: bool) -> None:
    error = await bench.run(GRANDCHILD, *(["stop"] if stopped else []))
    assert error.code == "result_invalid"
    await bench.until_nothing_is_left()


@pytest.mark.parametrize("stopped", [False, True])
async def test_grandchildren_end_with_a_stage_that_was_ended(bench: Bench, stopped: bool) -> None:
    error = await bench.run(GRANDCHILD + "\ntime.sleep(600)", *(["stop"] if stopped else []), seconds=2)
    assert error.code == "time_limit"
    await bench.until_nothing_is_left()


async def test_cancelling_leaves_nothing_and_is_quick(bench: Bench) -> None:
    running = asyncio.create_task(bench.run(GRANDCHILD + "\ntime.sleep(600)"))
    async with asyncio.timeout(10):
        while not (bench.workspace / "grandchild").exists():
            await asyncio.sleep(0.02)
    started = time.monotonic()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert time.monotonic() - started < 10
    await bench.until_nothing_is_left()


@pytest.mark.parametrize(
    ("planted", "why"),
    [
        ("os.symlink('/etc/hostname', 'outcome.json')", "cannot be opened"),
        ("os.mkfifo('outcome.json')", "not a regular file"),
        ("os.mkdir('outcome.json')", "not a regular file"),
        ("os.truncate(os.open('outcome.json', os.O_CREAT | os.O_WRONLY), 9 << 20)", "larger than"),
        ("open('outcome.json', 'w').write('[' * 100000)", "outcome"),
        ("open('outcome.json', 'w').write('{}')", "outcome"),
        ("None", "cannot be opened"),
    ],
)
async def test_what_a_child_plants_for_an_outcome_is_refused(limited: Bench, planted: str, why: str) -> None:
    error = await limited.run(f"import os; {planted}")
    assert (error.code, error.fault) == ("result_invalid", "backend")
    assert why in error.detail


@pytest.mark.parametrize("code", ["no_such_code", "isolation_unavailable", "quota_exceeded"])
async def test_a_failure_with_a_code_not_a_stages_own_is_no_failure_we_repeat(
    limited: Bench, code: str
) -> None:
    assert (await limited.run(outcome(failure(code)))).code == "result_invalid"


async def test_a_failure_keeps_its_evidence_only_while_it_is_small(limited: Bench) -> None:
    small = await limited.run(outcome(failure("model_invalid", evidence=({"a": 1},))))
    assert small.evidence == ({"a": 1},)
    large = await limited.run(outcome(failure("model_invalid", evidence=({"a": "x" * 70_000},))))
    assert large.evidence == ()


async def test_a_command_cannot_blame_the_isolation(limited: Bench) -> None:
    assert (await limited.run("raise SystemExit(125)")).code == "stage_crashed"


async def test_an_impossible_confinement_is_said_to_be_one(limited: Bench, tmp_path: Path) -> None:
    if limited.level != "namespaces":
        pytest.skip("needs user namespaces")
    with pytest.raises(StageFailed) as caught:
        await run_stage(
            Task(config=CONFIG, inputs={}, build_cache=None),
            limited.workspace,
            hide=Path(sys.executable).parent,
            level="namespaces",
            limits=RunLimits(max_seconds=5, max_memory_bytes=1 << 30, max_upload_bytes=1 << 20),
            on_progress=limited.progress.append,
        )
    assert (caught.value.code, caught.value.fault) == ("isolation_unavailable", "device")


async def test_files_are_bounded(limited: Bench) -> None:
    code = f"""
import os
try:
    with open('big', 'wb') as file:
        for _ in range(32):
            file.write(bytes(1 << 20))
except OSError as error:
    found = str(error.errno)
{outcome(failure("disk_full"))}
assert found == '27'
"""
    assert (await limited.run(code, uploads=4 << 20)).code == "disk_full"


MANY_FILES = """
import os
for number in range(64):
    with open(f'part-{number}', 'wb') as file:
        file.write(bytes(1 << 20))
    if sys.argv[1:]:
        kept.append(os.open(f'part-{number}', os.O_RDONLY))
        os.unlink(f'part-{number}')
time.sleep(600)
"""


@pytest.mark.parametrize("unlinked", [False, True])
async def test_a_workspace_is_bounded_as_a_whole(limited: Bench, unlinked: bool) -> None:
    """64 files, each within the bound of a file, and more than eight times that together."""
    code = "import sys, time; kept = []" + MANY_FILES
    error = await limited.run(code, *(["unlink"] if unlinked else []), uploads=2 << 20)
    assert (error.code, error.fault) == ("disk_limit", "user")


PROBE = """
import json, os, signal, socket, sys
told = {}
def attempt(name, act):
    try:
        told[name] = repr(act())
    except OSError as error:
        told[name] = type(error).__name__
home, port, other, runner, unix, outside = sys.argv[1:]
attempt('key', lambda: open(home + '/runner.key').read())
attempt('home', lambda: sorted(os.listdir(home)))
attempt('works', lambda: len(os.listdir(home + '/work')))
attempt('outbox', lambda: os.listdir(home + '/outbox'))
attempt('other', lambda: open(other).read())
attempt('connect', lambda: socket.create_connection(('127.0.0.1', int(port)), 2))
attempt('runner', lambda: os.kill(int(runner), 0))
attempt('parent', lambda: os.getppid())
attempt('remount', lambda: os.system('umount ' + home + ' 2>/dev/null'))
status = open('/proc/self/status').read()
attempt('capabilities', lambda: status.partition('CapEff:')[2].split()[0])
attempt('environment', lambda: sorted(os.environ))
attempt('unix', lambda: socket.socket(socket.AF_UNIX).connect(unix))
attempt('datagrams', lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', unix))
attempt('streams', lambda: len(socket.socketpair()))
attempt('vsock', lambda: socket.socket(40, socket.SOCK_STREAM))
libc = __import__('ctypes').CDLL(None, use_errno=True)
errno = __import__('ctypes').get_errno
attempt('io_uring', lambda: (libc.syscall(425, 1, 0), errno())[1])
attempt('elsewhere', lambda: open(outside, 'w').write('x'))
attempt('null', lambda: open('/dev/null', 'w').write('x'))
attempt('shm', lambda: os.listdir('/dev/shm'))
attempt('shm_write', lambda: open('/dev/shm/x', 'w').write('x'))
attempt('descriptors', lambda: [d for d in range(64) if os.path.exists(f'/proc/self/fd/{d}')])
open('told.json', 'w').write(json.dumps(told))
"""


async def test_in_namespaces_a_child_sees_and_reaches_nothing(tmp_path: Path, best: Isolation) -> None:
    if best != "namespaces":
        pytest.skip("this machine has no user namespaces")
    bench = Bench(tmp_path, "namespaces")
    bench.home.signing_key()
    (bench.home.outbox / "secret.json").write_text("{}")
    other = bench.home.new_workspace() / "theirs"
    other.write_text("theirs")
    os.environ["EDGEPROOF_TEST_SECRET"] = "secret"
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.socket(socket.AF_UNIX) as unix,
            tempfile.NamedTemporaryFile(dir="/dev/shm"),
        ):
            port = str(listener.getsockname()[1])
            unix.bind(str(tmp_path / "s"))
            unix.listen()
            arguments = (str(bench.home.root), port, str(other), str(os.getpid()))
            await bench.run(PROBE, *arguments, str(tmp_path / "s"), str(tmp_path / "outside"))
    finally:
        del os.environ["EDGEPROOF_TEST_SECRET"]
    told = json.loads((bench.workspace / "told.json").read_text())
    assert told["key"] == "FileNotFoundError"
    assert told["home"] == "['work']"
    assert told["works"] == "1"
    assert told["outbox"] == "FileNotFoundError"
    assert told["other"] == "FileNotFoundError"
    assert told["connect"] in ("OSError", "ConnectionRefusedError")
    assert told["runner"] == "ProcessLookupError"
    assert told["parent"] == "0"
    assert told["remount"] != "0"
    assert told["capabilities"] == "'0000000000000000'"
    # The last is what the package itself sets wherever it is imported.
    given = {*child_environment(bench.workspace), "ORT_DISABLE_TELEMETRY"}
    assert told["environment"] == repr(sorted(given))
    assert "SECRET" not in told["environment"]
    # It lies outside what is hidden: the path can be seen, and still nobody can connect.
    assert told["unix"] == "PermissionError"
    assert told["datagrams"] == "PermissionError"
    assert told["streams"] == "2"
    assert told["vsock"] == "PermissionError"
    assert told["io_uring"] == str(errno.ENOSYS)
    assert told["elsewhere"] == "OSError"
    assert not (tmp_path / "outside").exists()
    assert (told["null"], told["shm"], told["shm_write"]) == ("1", "[]", "1")
    assert told["descriptors"] == "[0, 1, 2]"
    await bench.until_nothing_is_left()


RUNNER = """
import asyncio, sys
from pathlib import Path
from edgeproof.contract.statements import ForgeConfig, RunLimits
from edgeproof.runner.stage import Task
from edgeproof.runner.supervisor import run_stage
import msgspec
task = msgspec.json.decode(sys.argv[1], type=Task)
workspace = Path(sys.argv[2])
asyncio.run(run_stage(task, workspace, hide=Path(sys.argv[3]), level=sys.argv[4],
    limits=RunLimits(max_seconds=600, max_memory_bytes=1 << 30, max_upload_bytes=1 << 20),
    on_progress=print, command=(sys.executable, '-I', '-c', sys.argv[5], 'stop')))
"""


async def test_nothing_outlives_a_runner_that_is_killed(bench: Bench) -> None:
    task = msgspec.json.encode(Task(config=CONFIG, inputs={}, build_cache=None)).decode()
    runner = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        RUNNER,
        task,
        str(bench.workspace),
        str(bench.home.hidden),
        bench.level,
        GRANDCHILD + "\ntime.sleep(600)",
    )
    async with asyncio.timeout(20):
        while not (bench.workspace / "grandchild").exists():
            await asyncio.sleep(0.02)
    assert bench.left()
    runner.kill()
    await runner.wait()
    await bench.until_nothing_is_left()


async def test_the_real_stage_reports_a_bad_model_as_the_users_fault(limited: Bench) -> None:
    """At every turn the default command is the real stage."""
    (limited.workspace / "input-source").write_bytes(b"no model")
    reports: Callable[[Progress], None] = limited.progress.append
    with pytest.raises(StageFailed) as caught:
        await run_stage(
            Task(config=CONFIG, inputs={"source": "input-source"}, build_cache=None),
            limited.workspace,
            hide=limited.home.hidden,
            level=limited.level,
            limits=RunLimits(max_seconds=60, max_memory_bytes=2 << 30, max_upload_bytes=1 << 24),
            on_progress=reports,
        )
    assert (caught.value.code, caught.value.fault) == ("artifact_digest_mismatch", "user")
