"""Links that are kept running: one that breaks off is made anew, a changed one takes over without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.device import Device
from agent.links import supervisor
from agent.links.link import Link
from agent.links.supervisor import LinkSupervisor
from agent.settings import Settings
from tests.box import Box, CountingLink, until
from tests.servers import SignageServer, item, playlist


def settings(**changes: Any) -> Settings:
    """A configuration with one signage link."""
    link = {
        "kind": "signage",
        "name": "main",
        "url": "http://127.0.0.1:1",
        "username": "u",
        "password": "secret",
        "screen": "front",
    }
    return Settings.model_validate({"links": [{**link, **changes}]})


class Kept:
    """The links of a box, whose own link is the first."""

    def __init__(self, box: Box, tasks: asyncio.TaskGroup) -> None:
        self.box = box
        self.broken = 0
        self.fresh: list[CountingLink] = []
        self.links = LinkSupervisor(cast("Device", SimpleNamespace(screens=box.screens)), tasks, lambda: None)

    def make(self, *_: Any) -> Link:
        """As the registry does."""
        box = self.box
        options: dict[str, Any] = {
            "url": box.server.url,
            "username": box.server.username,
            "password": box.server.password,
            "spread_s": 0.0,
        }
        link = CountingLink("main", box.link._device, sides=box.sides, timers=box.timers, **options)
        if len(self.fresh) < self.broken:
            link._restore = self._break  # type: ignore[method-assign]
        self.fresh.append(link)
        return link

    @staticmethod
    async def _break() -> None:
        raise RecursionError("on purpose")


@pytest.fixture
async def server() -> AsyncIterator[SignageServer]:
    """The backend, with a playlist of one image."""
    async with SignageServer() as server:
        server.offer([playlist(101, [item(server.media.add("a.png", b"a" * 100), media_id=1)])])
        yield server


@pytest.fixture
async def kept(tmp_path: Path, server: SignageServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    """No link yet; the box's own one has put the files on the disk and is gone."""
    async with Box(tmp_path, server) as box, asyncio.TaskGroup() as tasks:
        await box.ready(101)
        await box.shows("a.png")
        await box.link.save()
        task = box._tasks.pop()
        task.cancel()
        await asyncio.wait({task})
        box.link.leave()
        made = Kept(box, tasks)
        monkeypatch.setattr(supervisor, "make_link", made.make)
        monkeypatch.setattr(supervisor, "SPREAD_S", 0.05)
        yield made
        for running in made.links._running.values():
            running.cancel()
            await asyncio.wait({running})


def blank(box: Box, since: int) -> int:
    """Scenes without a picture since then."""
    return sum(scene.shot is None for scene in box.screen.scenes[since:])


async def test_a_changed_link_takes_over_without_a_gap(kept: Kept) -> None:
    """From the old link's picture to the new one's no scene is empty; the text bar stays, too. A link that is gone leaves."""
    links, box = kept.links, kept.box
    before, after = settings(), settings(spread_s=1.0)
    links.start(before.links[0])
    await until(lambda: box.screen.title == "a.png" and kept.fresh[0].state == "connected")
    kept.fresh[0]._on_frame('{"action": "show_text_overlay", "text_overlay": {"text": "x"}}')
    since, shown = len(box.screen.scenes), box.screen.scene.shot
    await links.replace(before.links, after.links)
    await until(lambda: len(kept.fresh) == 2 and kept.fresh[1].state == "connected")
    await until(lambda: box.screen.scene.shot is not None and box.screen.scene.shot != shown)
    assert (box.screen.title, blank(box, since)) == ("a.png", 0)
    assert all(scene.ticker is not None for scene in box.screen.scenes[since:])
    assert len(box.screen.stage._programs) == 1
    assert list(links) == [kept.fresh[1]]
    await links.replace(after.links, [])
    assert (box.screen.scene.shot, box.screen.ticker, list(links)) == (None, None, [])


async def test_the_configuration_decides_who_is_first_on_a_tie(kept: Kept) -> None:
    """Not who was reached first: read again, with the links in another order, that order counts, and no link notices."""
    first, second = settings().links[0], settings(name="second").links[0]
    for before, after in (([first, second], [second, first]), ([second, first], [first, second])):
        await kept.links.replace(before, after)
        assert kept.box.screen.stage.order == tuple(link.name for link in after)
    assert not kept.fresh


async def test_a_link_that_breaks_off(kept: Kept, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, the picture stays, and a fresh one takes its place, again and again if need be."""
    monkeypatch.setattr("agent.links.backoff.FIRST_S", 0.05)
    links, box = kept.links, kept.box
    links.start(settings().links[0])
    first = kept.fresh[0]
    await until(lambda: box.screen.title == "a.png" and first.state == "connected")
    since = len(box.screen.scenes)
    kept.broken = 3
    states: list[tuple[str, str, list[str]]] = []
    first.on_change(lambda: states.append((first.state, first.last_error, first.warnings())))

    async def broken() -> None:
        raise RecursionError("on purpose")

    first._tasks.create_task(broken())
    await until(lambda: len(kept.fresh) == 4 and kept.fresh[3].state == "connected")
    await until(lambda: len(box.screen.stage._programs) == 1)
    error = "internal error: RecursionError"
    assert states[-1] == ("waiting", error, [f"link main: broke off and is started again: {error}"])
    assert (box.screen.title, blank(box, since)) == ("a.png", 0)
    assert list(links) == [kept.fresh[3]]
    assert caplog.text.count("link broke off and is started again") == 3
