"""The camera as the daemon sees it, with the real worker and real viewers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.camera import proxy
from agent.camera.messages import LONGEST_OFFER, MOST_CANDIDATES, IceServer, Offer, Open
from agent.camera.proxy import CameraProxy, CameraTimers
from agent.settings import Camera
from agent.system.worker import Worker, WorkerTimers
from tests.camera.viewer import DEADLINE_S, Viewer
from tests.conftest import LONG, rounds

ROOT = Path(__file__).parents[2]
SETTINGS = Camera(source="test", width=320, height=240, framerate=60, bitrate=1_000_000)
LOAD = 5.0
"""What a limit of the contract is multiplied with: the machine does other things, too."""
TIMERS = CameraTimers(linger_s=0.3, worker=WorkerTimers(ping_s=10.0))


class Listener:
    """What a link would be told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self._news = asyncio.Event()

    def on_answer(self, sdp: str) -> None:
        """See `CameraSession`."""
        self._hear("answer", sdp)

    def on_candidate(self, candidate: str | None, sdp_mid: str | None, sdp_mline_index: int | None) -> None:
        """See `CameraSession`."""
        self._hear("candidate", candidate, sdp_mid, sdp_mline_index)

    def on_refused(self, message: str) -> None:
        """See `CameraSession`."""
        self._hear("refused", message)

    def on_closed(self, reason: str) -> None:
        """See `CameraSession`."""
        self._hear("closed", reason)

    async def hears(self, what: str) -> str:
        """Waits for that and gives its text."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for kind, *texts in self.heard:
                    if kind == what:
                        return str(texts[0])
                    assert kind not in {"refused", "closed"}, texts
                self._news.clear()
                await self._news.wait()

    def _hear(self, *what: Any) -> None:
        self.heard.append(what)
        self._news.set()


class Place:
    """A proxy that runs."""

    def __init__(self, camera: CameraProxy) -> None:
        self.camera = camera
        self.viewers: list[Viewer] = []
        self.states: list[tuple[int, str, str]] = []
        camera.on_change(lambda: self.states.append((camera.viewers, camera.source, camera.encoder)))
        self.task = asyncio.create_task(camera.run(), name="camera")

    async def watch(self, session: str, *, link: str = "", more: int = 2) -> tuple[Viewer, Listener]:
        """A viewer that sees pictures, and what its link was told."""
        viewer, listener = Viewer(), Listener()
        self.viewers.append(viewer)
        self.camera.open(session, [], listener, link=link)
        self.camera.offer(session, await viewer.offer(), link=link)
        await viewer.accept(await listener.hears("answer"))
        await viewer.sees(more)
        return viewer, listener

    async def until(self, condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        """Waits until `condition` holds."""
        async with asyncio.timeout(deadline_s):
            while not condition():
                await asyncio.sleep(0.01)


Begin = Callable[..., Place]


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Begin]:
    """Makes places; `how` says what is wrong with the worker."""
    places: list[Place] = []

    def begin(settings: Camera = SETTINGS, timers: CameraTimers = TIMERS, how: str = "") -> Place:
        class Stand(Worker):
            def __init__(self, name: str, module: str, arguments: Any, **keywords: Any) -> None:
                assert module == "agent.camera.worker"
                super().__init__(
                    name,
                    "tests.camera.worker_process",
                    arguments,
                    environment={"CAMERA_TEST": how, "PYTHONPATH": str(ROOT)},
                    **keywords,
                )

        monkeypatch.setattr(proxy, "Worker", Stand if how else Worker)
        places.append(Place(CameraProxy(settings, timers=timers)))
        return places[-1]

    yield begin
    for one in places:
        for viewer in one.viewers:
            await viewer.close()
        one.task.cancel()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({one.task})
        assert one.task.cancelled(), one.task.exception()


async def test_from_the_first_viewer_to_a_little_after_the_last(place: Begin) -> None:
    """No process before, one for all, none a little later; a quick return finds the same process."""
    here = place(timers=replace(TIMERS, linger_s=3.0))
    camera = here.camera
    await asyncio.sleep(0)
    assert (camera.pid, camera.viewers, camera.source, camera.encoder, camera.recording) == (None, 0, "test", "", False)
    began = time.monotonic()
    first, _ = await here.watch("one")
    assert first.first_at - began < 3.0 * LOAD
    pid = camera.pid
    await here.watch("two")
    assert (camera.pid, camera.viewers, camera.source, camera.encoder, camera.recording) == (pid, 2, "test", "libx264", True)
    camera.close("one")
    camera.close("two")
    await here.until(lambda: camera.viewers == 0)
    began = time.monotonic()
    again, _ = await here.watch("one")
    assert again.first_at - began < 1.0 * LOAD
    assert camera.pid == pid
    camera.close("one")
    await here.until(lambda: camera.pid is None)
    await here.until(lambda: not Path(f"/proc/{pid}").exists())
    assert (camera.viewers, camera.encoder) == (0, "")


async def test_the_camera_closes_at_once_when_nobody_watches(place: Begin) -> None:
    """Within a second, while the process stays for those who come back."""
    here = place(timers=replace(TIMERS, linger_s=20.0))
    await here.watch("one")
    began = time.monotonic()
    here.camera.close("one")
    await here.until(lambda: here.states[-1] == (0, "test", "") and here.camera._state.source == "", 1.0)
    assert time.monotonic() - began < 1.0
    assert here.camera.pid is not None


async def test_a_viewer_that_leaves_ends_its_session(place: Begin) -> None:
    """The link hears of it, once; nothing else follows."""
    here = place()
    viewer, listener = await here.watch("one")
    await viewer.close()
    assert "gone" in await listener.hears("closed")
    here.camera.close("one")
    await here.until(lambda: here.camera.pid is None)
    assert [kind for kind, *_ in listener.heard] == ["answer", "closed"]


async def test_a_worker_that_is_killed_ends_the_sessions_and_the_next_works(place: Begin) -> None:
    """Both viewers' links hear of it with a message; watching again starts another process."""
    here = place()
    (_, one), (_, two) = await here.watch("one"), await here.watch("two")
    pid = here.camera.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for listener in (one, two):
        assert "broke off" in await listener.hears("refused")
    assert (here.camera.viewers, here.camera.encoder) == (0, "")
    _, again = await here.watch("one")
    assert here.camera.pid not in {None, pid}
    assert [kind for kind, *_ in again.heard] == ["answer"]


async def test_many_sessions_leave_the_worker_as_it_was(place: Begin) -> None:
    """Opened and closed 300 times: as many threads and descriptors as before, and its memory, once warm, is flat.

    It takes some 150 sessions until all libraries have what they keep; the short round sees most of that as growth, and only
    finds a worker that loses a lot each time.
    """
    here = place(timers=replace(TIMERS, linger_s=20.0))
    total = rounds(300)

    async def sessions(first: int, last: int) -> tuple[int, int, int]:
        leaving: list[Listener] = []
        for number in range(first, last):
            viewer, listener = await here.watch(str(number), more=1)
            if number % 3:
                here.camera.close(str(number))
            await viewer.close()
            leaving += [] if number % 3 else [listener]
            here.viewers.remove(viewer)
        for listener in leaving:
            assert "gone" in await listener.hears("closed")
        await here.until(lambda: here.camera._state.sessions == 0 and here.camera._state.source == "")
        process = Path(f"/proc/{here.camera.pid}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return int(status["Threads"]), len(list((process / "fd").iterdir())), int(status["VmRSS"].split()[0])

    threads, descriptors, kb = await sessions(0, total // 2)
    pid = here.camera.pid
    after = await sessions(total // 2, total)
    assert here.camera.pid == pid
    assert after[0] <= threads
    assert after[1] <= descriptors
    assert after[2] - kb < (6_000 if LONG else 12_000)


async def test_a_worker_that_does_not_start(place: Begin) -> None:
    """Each watch is refused with a message, and each tries again."""
    here = place(how="die")
    for session in ("one", "two"):
        listener = Listener()
        here.camera.open(session, [], listener)
        assert "broke off" in await listener.hears("refused")


async def test_a_camera_that_is_unplugged(place: Begin) -> None:
    """The message names it, and the next watch tries again, in the same process."""
    here = place(how="break")
    for _ in range(2):
        _, listener = await here.watch("one")
        pid = here.camera.pid
        assert "the camera is gone" in await listener.hears("refused")
        assert here.camera.pid == pid


async def test_a_camera_that_hangs(place: Begin) -> None:
    """Its viewers are told, its process is given up, and the next watch has another."""
    here = place(how="hang", timers=replace(TIMERS, linger_s=20.0))
    _, listener = await here.watch("one")
    pid = here.camera.pid
    assert "gives no pictures" in await listener.hears("refused")
    await here.until(lambda: here.camera.pid is None)
    await here.watch("one")
    assert here.camera.pid not in {None, pid}


async def test_a_replaced_session(place: Begin) -> None:
    """Nobody hears anything of the first any more."""
    here = place()
    first, old = await here.watch("one")
    await here.watch("one")
    await first.until(lambda: first.state == "closed")
    assert [kind for kind, *_ in old.heard] == ["answer"]
    assert here.camera.viewers == 1


async def test_two_links_may_use_the_same_session(place: Begin) -> None:
    """Each hears its own, and closing one leaves the other."""
    here = place()
    await here.watch("one", link="a")
    viewer, listener = await here.watch("one", link="b")
    here.camera.close("one", link="a")
    await viewer.sees()
    assert [kind for kind, *_ in listener.heard] == ["answer"]


async def test_an_offer_before_its_session(place: Begin) -> None:
    """Offer and candidates are kept until the session is opened."""
    here = place()
    viewer, listener = Viewer(), Listener()
    here.viewers.append(viewer)
    here.camera.candidate("one", "candidate:1 1 udp 1 192.0.2.1 1 typ host", "0", 0)
    here.camera.offer("one", await viewer.offer())
    assert here.camera.pid is None
    here.camera.open("one", [IceServer(("stun:",))], listener)
    await viewer.accept(await listener.hears("answer"))
    await viewer.sees()


async def test_what_comes_too_early_or_too_late_is_dropped(place: Begin) -> None:
    """After a while, right after the end of the session, and when there is too much of it."""
    here = place(timers=replace(TIMERS, early_s=0.05))
    camera = here.camera
    camera.offer("one", "offer")
    await asyncio.sleep(0.1)
    camera.open("one", [], Listener())
    assert [type(message).__name__ for message in camera._outbox.take()] == ["Open"]
    camera.close("one")
    camera.offer("one", "late")
    assert camera._early == {}
    assert len(camera._outbox) == 0
    for number in range(1000):
        camera.offer(f"flood {number}", "offer")
        camera.candidate("flood 0", "candidate", None, None)
    assert len(camera._early) == proxy.EARLY_SESSIONS
    assert len(camera._early["", "flood 0"].candidates) == proxy.EARLY_CANDIDATES
    camera.offer("other", "offer", link="another")
    assert ("another", "other") in camera._early


async def test_little_is_kept_for_a_worker_that_is_not_there_yet(place: Begin) -> None:
    """The newest offer and some candidates of each session, however many come."""
    camera = place().camera
    camera.open("one", [], Listener())
    for number in range(1000):
        camera.offer("one", f"{number} " + "x" * 100_000)
        camera.candidate("one", f"candidate {number}", None, None)
    opening, offer, *candidates = camera._outbox.take()
    assert isinstance(opening, Open)
    assert isinstance(offer, Offer)
    assert offer.sdp.startswith("999 ")
    assert len(offer.sdp) == LONGEST_OFFER + 1
    assert len(candidates) == MOST_CANDIDATES


async def test_a_worker_that_stands_still(place: Begin) -> None:
    """What it does not read is bounded: the session that sends on is ended with a message, and no other one begins."""
    here = place()
    listener, other = Listener(), Listener()
    here.camera.open("one", [], listener)
    await here.until(lambda: here.camera.pid is not None)
    worker = here.camera._worker
    assert worker is not None
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    for _ in range(1000):
        here.camera.offer("one", "x" * 60_000)
    assert worker.unread_bytes <= proxy.MOST_UNREAD_BYTES + 100_000
    here.camera.open("two", [], other)
    assert listener.heard == other.heard == []
    for told in (listener, other):
        assert "cannot keep up" in await told.hears("refused")
    os.kill(worker.pid, signal.SIGKILL)
    await here.until(lambda: here.camera.pid is None)
    await here.watch("two")


async def test_without_the_extra(place: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch is refused, and not from within the call; what to install is for who looks after the device."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    here = place()
    assert "aiortc and PyAV: sudo scripts/install --with-camera" in here.camera.missing()
    listener = Listener()
    here.camera.open("one", [], listener)
    assert listener.heard == []
    assert await listener.hears("refused") == "camera software is not installed on this device"
    assert here.camera.pid is None


async def test_no_camera(place: Begin) -> None:
    """Source none: every watch is refused, no process is started."""
    here = place(SETTINGS.model_copy(update={"source": "none"}))
    listener = Listener()
    here.camera.open("one", [], listener)
    assert "switched off" in await listener.hears("refused")
    assert here.camera.pid is None


async def test_a_camera_that_is_not_there(place: Begin) -> None:
    """The message says which."""
    here = place(SETTINGS.model_copy(update={"source": "v4l2:/dev/no-camera"}))
    listener, viewer = Listener(), Viewer()
    here.viewers.append(viewer)
    here.camera.open("one", [], listener)
    here.camera.offer("one", await viewer.offer())
    assert "v4l2:/dev/no-camera" in await listener.hears("refused")


async def test_the_end_of_the_daemon_ends_the_worker(place: Begin) -> None:
    """Cancelled, it takes the worker along within the second, and viewers notice."""
    here = place()
    viewer, _ = await here.watch("one")
    pid = here.camera.pid
    began = time.monotonic()
    here.task.cancel()
    await asyncio.wait({here.task})
    assert time.monotonic() - began < 1.5
    assert not Path(f"/proc/{pid}").exists()
    await viewer.until(lambda: viewer.state == "closed", 2.0)


def test_the_daemon_never_loads_the_camera() -> None:
    """Neither aiortc nor PyAV is imported with the proxy, the daemon or any link."""
    code = (
        "import sys, pkgutil, importlib, agent.daemon, agent.device, agent.links, agent.camera.proxy as proxy\n"
        "for module in pkgutil.walk_packages(agent.links.__path__, 'agent.links.'): importlib.import_module(module.name)\n"
        "proxy.CameraProxy.missing()\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'aiortc', 'aioice', 'av', 'picamera2', 'numpy'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "[]"
