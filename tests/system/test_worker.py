"""Child processes: real ones, well-behaved and not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.system.child import Child
from agent.system.wire import MAX_LINE_BYTES, WireError
from agent.system.worker import Worker, WorkerGoneError, WorkerTimers
from tests.system.child import FROM_CHILD, Do, Said

ROOT = Path(__file__).parents[2]
DEADLINE_S = 15.0
CALM = WorkerTimers(ping_s=60.0, leave_s=3.0)


class Run:
    """One run of the child and what it said."""

    def __init__(self, timers: WorkerTimers = CALM, module: str = "tests.system.child", **callbacks: Any) -> None:
        self.heard: list[str] = []
        self._news = asyncio.Event()
        on_message: Callable[[Any], None] = callbacks.pop("on_message", self.hear)
        self.worker = Worker(
            "child", module, ["one", "two words"], expected=FROM_CHILD, on_message=on_message,
            environment={"PYTHONPATH": str(ROOT)}, timers=timers, **callbacks,
        )  # fmt: skip
        self.task = asyncio.create_task(self.worker.run(), name="run")

    def hear(self, message: Said) -> None:
        """Keeps what the child said."""
        self.heard.append(message.text)
        self._news.set()

    async def says(self, text: str) -> str:
        """Waits until it has said something that begins like this."""
        async with asyncio.timeout(DEADLINE_S):
            while not any(line.startswith(text) for line in self.heard):
                self._news.clear()
                await self._news.wait()
        return next(line for line in self.heard if line.startswith(text))

    async def begun(self) -> int:
        """Waits for its first words; its process number."""
        return int((await self.says("here ")).split()[1])

    async def ended(self) -> str:
        """Waits for its end; how it ended."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.task

    async def cancel(self) -> None:
        """Ends it as the daemon does."""
        self.task.cancel()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({self.task})


def alive(pid: int) -> bool:
    """Whether there is such a process (a zombie is none)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Run]]:
    """Starts children; none of them outlives the test."""
    runs: list[Run] = []

    def begin(*arguments: Any, **keywords: Any) -> Run:
        runs.append(Run(*arguments, **keywords))
        return runs[-1]

    yield begin
    for run in runs:
        if not run.task.done():
            await run.cancel()


Start = Callable[..., Run]


async def test_messages_go_both_ways(start: Start) -> None:
    """The child gets its arguments and what is sent, and its words arrive in order."""
    run = start()
    pid = await run.begun()
    assert run.heard == [f"here {pid} one two words"]
    assert run.worker.pid == pid
    for number in range(50):
        run.worker.send(Do("say", f"{number} ж"))
    await run.says("49")
    assert run.heard[1:] == [f"{number} ж" for number in range(50)]


async def test_on_open_comes_when_messages_can_be_sent(start: Start) -> None:
    """What is sent in `on_open` is the first thing the child gets, though it has not even begun to listen."""
    run: Run
    run = start(on_open=lambda: run.worker.send(Do("say", "first")))
    await run.says("first")


async def test_a_message_of_the_largest_size_passes(start: Start) -> None:
    """One MiB is let through in both directions, more is refused where it is sent."""
    run = start()
    await run.begun()
    text = "x" * (MAX_LINE_BYTES - 100)
    run.worker.send(Do("say", text))
    assert await run.says("xx") == text
    with pytest.raises(WireError):
        run.worker.send(Do("say", text * 2))
    with pytest.raises(WireError):
        await run.worker.request(Do("say", text * 2), 5)
    run.worker.send(Do("say", "still here"))
    await run.says("still here")


async def test_a_request_is_answered(start: Start) -> None:
    """A request returns on success and raises the child's sentence on failure."""
    run = start()
    await run.begun()
    await run.worker.request(Do("answer"), DEADLINE_S)
    with pytest.raises(RuntimeError, match=r"^no film in the camera$"):
        await run.worker.request(Do("answer", "no film in the camera"), DEADLINE_S)


async def test_requests_cross(start: Start) -> None:
    """Several requests at once get each its own answer."""
    run = start()
    await run.begun()
    requests = [run.worker.request(Do("answer", f"{number}"), DEADLINE_S) for number in range(1, 20)]
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert [str(answer) for answer in answers] == [f"{number}" for number in range(1, 20)]


async def test_a_request_has_a_deadline(start: Start) -> None:
    """No answer in time is a TimeoutError; the child lives on and a later request is answered."""
    run = start()
    await run.begun()
    with pytest.raises(TimeoutError):
        await run.worker.request(Do("keep silent"), 0.05)
    await run.worker.request(Do("answer"), DEADLINE_S)


async def test_an_answer_of_the_wrong_kind_is_not_taken_for_one(start: Start) -> None:
    """Only Done answers a request."""
    run = start()
    await run.begun()
    await run.worker.request(Do("answer strangely"), DEADLINE_S)


async def test_a_request_ends_with_the_child(start: Start) -> None:
    """Who waits for an answer is told at once when the child dies."""
    run = start()
    await run.begun()
    asking = asyncio.create_task(run.worker.request(Do("keep silent"), 60))
    await run.worker.request(Do("answer"), DEADLINE_S)
    run.worker.send(Do("crash"))
    with pytest.raises(WorkerGoneError):
        await asyncio.wait_for(asking, DEADLINE_S)


async def test_nothing_is_asked_of_a_child_that_is_not_there(start: Start) -> None:
    """Before the start and after the end a request fails at once and a message is dropped."""
    worker = Worker("child", "tests.system.child", [], expected=FROM_CHILD, on_message=print)
    worker.send(Do("say"))
    with pytest.raises(WorkerGoneError):
        await worker.request(Do("answer"), 5)
    run = start()
    await run.begun()
    run.worker.send(Do("exit", "0"))
    await run.ended()
    run.worker.send(Do("say"))
    with pytest.raises(WorkerGoneError):
        await run.worker.request(Do("answer"), 5)
    assert run.worker.pid is None


@pytest.mark.parametrize(("order", "how"), [(Do("exit", "0"), "exit 0"), (Do("exit", "7"), "exit 7"), (Do("crash"), "SIGSEGV")])
async def test_how_it_ended_is_said(start: Start, order: Do, how: str) -> None:
    """The exit code, or the signal by its name."""
    run = start()
    await run.begun()
    run.worker.send(order)
    assert how in await run.ended()


async def test_a_module_that_cannot_be_started(start: Start) -> None:
    """It ends like any other child; nothing hangs."""
    assert "exit 1" in await start(module="tests.system.nothing_here").ended()


async def test_a_program_that_cannot_be_started(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory for another process, or no interpreter: it is said, and the owner may try again."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    run = start()
    assert "cannot be started" in await run.ended()


async def test_a_child_that_hangs_is_killed(start: Start) -> None:
    """After the pings it may lose it is ended by force, and the reason says so."""
    run = start(WorkerTimers(ping_s=0.2, pings_lost=3, leave_s=0.1, term_s=0.1))
    pid = await run.begun()
    run.worker.send(Do("hang"))
    how = await run.ended()
    assert "3 pings lost" in how
    assert not alive(pid)


async def test_the_design_s_pings() -> None:
    """With three pings lost at one in 2 s a hanging child is found out within 8 s."""
    timers = WorkerTimers()
    assert (timers.ping_s, timers.pings_lost) == (2.0, 3)
    assert timers.ping_s * (timers.pings_lost + 1) <= 8.0


async def test_a_child_that_answers_is_left_alone(start: Start) -> None:
    """Many pings later it is the same process."""
    run = start(WorkerTimers(ping_s=0.02, pings_lost=50))
    pid = await run.begun()
    for _ in range(10):
        await run.worker.request(Do("answer"), DEADLINE_S)
        await asyncio.sleep(0.02)
    assert run.worker.pid == pid


async def test_cancelled_it_hangs_up_and_the_child_ends(start: Start) -> None:
    """A child that listens ends by itself, without a signal."""
    run = start()
    pid = await run.begun()
    await run.cancel()
    assert run.task.cancelled()
    assert not alive(pid)


async def test_who_ignores_everything_is_killed(start: Start) -> None:
    """A child deaf to the hang-up and to SIGTERM is gone after SIGKILL, when `run` returns."""
    run = start(WorkerTimers(ping_s=60, leave_s=0.1, term_s=0.1))
    pid = await run.begun()
    run.worker.send(Do("deaf"))
    await run.says("deaf")
    began = time.monotonic()
    await run.cancel()
    assert not alive(pid)
    assert time.monotonic() - began < 2


async def test_a_child_that_the_kernel_holds_is_reported(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When even SIGKILL does not help, `on_stuck` is called and the log says what is the matter."""
    stuck: list[bool] = []
    run = start(WorkerTimers(ping_s=60, leave_s=0.05, term_s=0.05, kill_s=0.05), on_stuck=lambda: stuck.append(True))
    pid = await run.begun()
    run.worker.send(Do("deaf"))
    await run.says("deaf")
    with monkeypatch.context() as patch:
        patch.setattr(Child, "send_signal", lambda child, number: None)
        await run.cancel()
    assert stuck == [True]
    assert "survives SIGKILL" in caplog.text
    os.kill(pid, signal.SIGKILL)


async def test_garbage_is_logged_and_passed_over(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Lines that are no messages leave the child running and its next words heard."""
    run = start()
    await run.begun()
    run.worker.send(Do("garbage"))
    await run.says("after the garbage")
    assert caplog.text.count("worker said something unknown") == 5
    assert not run.task.done()


async def test_a_child_that_floods_is_ended(start: Start) -> None:
    """A line without an end fills no memory: the channel is given up, and the daemon goes on."""
    run = start()
    pid = await run.begun()
    run.worker.send(Do("flood"))
    assert "ended" in await run.ended()
    assert not alive(pid)


async def test_a_fault_in_a_handler_is_not_the_end(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """A message that makes its handler fail is logged; the next one is handled."""
    heard = asyncio.Event()

    def handle(message: Said) -> None:
        if message.text.startswith("here"):
            raise ZeroDivisionError("of ours")
        heard.set()

    run = start(on_message=handle)
    async with asyncio.timeout(DEADLINE_S):
        while run.worker._writer is None:
            await asyncio.sleep(0)
        run.worker.send(Do("say", "more"))
        await heard.wait()
    assert "of ours" in caplog.text
    assert any(record.levelno == logging.ERROR for record in caplog.records)


async def test_the_child_dies_with_its_parent() -> None:
    """A parent that is killed outright leaves no child behind, not even one that ignores the hang-up and SIGTERM."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.system.parent", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        pid = int((await parent.stdout.readline()).split()[1])
        assert await parent.stdout.readline() == b"deaf\n"
        assert alive(pid)
        parent.kill()
        await parent.wait()
        with contextlib.suppress(ProcessLookupError):
            while alive(pid):
                await asyncio.sleep(0.01)


async def test_starting_and_ending_many_times_leaves_nothing(start: Start) -> None:
    """Ten children, each ended at another moment of its start: no process and no descriptor is left."""
    before = descriptors()
    pids = []
    for number in range(10):
        run = start()
        await asyncio.sleep(number * 0.01)
        if run.worker.pid is not None:
            pids.append(run.worker.pid)
        await run.cancel()
    assert not any(alive(pid) for pid in pids)
    await asyncio.sleep(0)
    assert descriptors() <= before + 2
