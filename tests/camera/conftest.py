"""Sessions of the camera in this process, and viewers for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest

from agent.camera.messages import Answer, CameraState, Candidate, Close, Closed, IceServer, Offer, Open, Refused
from agent.camera.session import SessionTimers
from agent.camera.sessions import Sessions
from agent.camera.source import Picture
from agent.camera.studio import StudioTimers
from tests.camera.viewer import DEADLINE_S, Viewer

T = TypeVar("T")
PICTURE = Picture(320, 240, 60)


class Room:
    """The worker's part without its process: what is said to it, and what it says."""

    def __init__(self, group: asyncio.TaskGroup, **keywords: Any) -> None:
        self.said: list[Any] = []
        self.stuck = 0
        self.viewers: list[Viewer] = []
        self._news = asyncio.Event()
        source = keywords.pop("source", "test")
        picture = keywords.pop("picture", PICTURE)
        keywords.setdefault("timers", SessionTimers(return_s=0.2))
        keywords.setdefault("studio_timers", StudioTimers(close_s=0.02))
        self.sessions = Sessions(group, source, picture, 1_000_000, say=self._say, on_stuck=self._stick, **keywords)
        self.studio = self.sessions.studio

    def open(self, key: str, *servers: IceServer) -> None:
        """A watch request."""
        self.sessions.take(Open(key, servers))

    def offer(self, key: str, sdp: str) -> None:
        """An offer."""
        self.sessions.take(Offer(key, sdp))

    def candidate(self, key: str, text: str, mid: str | None = "0", index: int | None = 0) -> None:
        """A candidate of the viewer."""
        self.sessions.take(Candidate(key, text, mid, index))

    def close(self, key: str) -> None:
        """The end of a session."""
        self.sessions.take(Close(key))

    def viewer(self, **keywords: Any) -> Viewer:
        """A viewer that is closed with the test."""
        viewer = Viewer(**keywords)
        self.viewers.append(viewer)
        return viewer

    async def watch(self, key: str, *servers: IceServer, more: int = 2, **keywords: Any) -> Viewer:
        """A viewer that sees pictures."""
        viewer = self.viewer(**keywords)
        self.open(key, *servers)
        self.offer(key, await viewer.offer())
        await viewer.accept((await self.hears(key, Answer)).sdp)
        await viewer.sees(more)
        return viewer

    def of(self, key: str, kind: type[T]) -> list[T]:
        """What it has said of that kind about the session."""
        return [message for message in self.said if isinstance(message, kind) and message.session == key]  # type: ignore[attr-defined]

    async def hears(self, key: str, kind: type[T], number: int = 1, deadline_s: float = DEADLINE_S) -> T:
        """Waits for the number-th message of that kind."""
        await self.until(lambda: len(self.of(key, kind)) >= number, deadline_s)
        return self.of(key, kind)[number - 1]

    async def until(self, condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        """Waits until `condition` holds; looked at after every word, and now and then."""
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    self._news.clear()
                    try:
                        async with asyncio.timeout(0.02):
                            await self._news.wait()
                    except TimeoutError:
                        pass
        except TimeoutError:
            raise AssertionError(f"said={self.said[-5:]}") from None

    @property
    def state(self) -> CameraState:
        """As last told."""
        return next(message for message in reversed(self.said) if isinstance(message, CameraState))

    def ended(self, key: str) -> bool:
        """Whether the session is over by its own account."""
        return bool(self.of(key, Closed) or self.of(key, Refused))

    def _say(self, message: Any) -> None:
        self.said.append(message)
        self._news.set()

    def _stick(self) -> None:
        self.stuck += 1
        self._news.set()


OpenRoom = Callable[..., Room]


@pytest.fixture
async def room() -> AsyncIterator[OpenRoom]:
    """Makes rooms; ends them, and their viewers, with the test."""
    made: list[Room] = []
    group_is_there: asyncio.Future[asyncio.TaskGroup] = asyncio.get_running_loop().create_future()

    async def host() -> None:
        async with asyncio.TaskGroup() as group:
            group_is_there.set_result(group)
            await asyncio.get_running_loop().create_future()

    hosting = asyncio.create_task(host(), name="owner of the sessions")
    group = await group_is_there

    def make(**keywords: Any) -> Room:
        made.append(Room(group, **keywords))
        return made[-1]

    yield make
    for one in made:
        for viewer in one.viewers:
            await viewer.close()
    hosting.cancel()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait({hosting})
    assert hosting.cancelled(), hosting.exception()
    for one in made:
        await one.until(lambda one=one: one.studio._capture is None)  # type: ignore[misc]
