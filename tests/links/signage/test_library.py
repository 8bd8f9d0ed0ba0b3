"""The files of the server's playlists, with a store whose answers the test decides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import cast

import pytest

from agent.links.signage.library import Holding, Library
from agent.links.signage.messages import Id
from agent.links.signage.playlists import Media, ServerPlaylist
from agent.media.store import MediaStore
from agent.media.wants import FetchError, OnBytes, Want
from agent.stage.playlist import Item
from tests.box import until


class Shelf:
    """Stands in for the store: files come when the test lets them."""

    def __init__(self) -> None:
        self.have: set[str] = set()
        self.faults: dict[str, Exception] = {}
        self.open: dict[str, asyncio.Event] = {}
        self.asked: list[tuple[str, int]] = []
        self.kept: list[str] = []
        self.discarded: list[str] = []

    async def find(self, want: Want) -> Path | None:
        await asyncio.sleep(0)
        return Path("/" + want.name) if want.name in self.have else None

    async def fetch(self, want: Want, *, urgency: int, on_bytes: OnBytes) -> Path:
        self.asked.append((want.name, urgency))
        on_bytes(1, 2)
        await self.gate(want.name).wait()
        if want.name in self.faults:
            raise self.faults[want.name]
        self.have.add(want.name)
        return Path("/" + want.name)

    def keep(self, owner: str, wants: Collection[Want]) -> None:
        self.kept = sorted({want.name for want in wants})

    async def discard(self, wants: Collection[Want]) -> int:
        gone = {want.name for want in wants} - set(self.kept)
        self.discarded += sorted(gone)
        self.have -= gone
        return len(gone)

    def gate(self, name: str) -> asyncio.Event:
        return self.open.setdefault(name, asyncio.Event())


class Heard:
    """What the library said."""

    def __init__(self) -> None:
        self.reports: list[tuple[Id, str, int, bool]] = []
        self.bytes: list[Id] = []
        self.files: list[Id] = []
        self.done: list[Id] = []

    def report(self, holding: Holding, again: bool) -> None:
        said = holding.report()
        self.reports.append((said.playlist_id, said.status, said.downloaded_items, again))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def library(shelf: Shelf, heard: Heard) -> AsyncIterator[Library]:
    async def headers(_refused: object) -> dict[str, str]:
        return {}

    made_library = Library(
        "main",
        cast("MediaStore", shelf),
        headers=headers,
        trusted_origin="http://x",
        on_report=heard.report,
        on_bytes=heard.bytes.append,
        on_files=heard.files.append,
        on_done=heard.done.append,
    )
    running = asyncio.create_task(made_library.run())
    await asyncio.sleep(0)
    yield made_library
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def made(playlist_id: int, *names: str, malformed: tuple[str, ...] = ()) -> ServerPlaylist:
    media = (Media(Item(name, name, "", "image", 10.0), f"http://x/{name}", name, None, "") for name in names)
    return ServerPlaylist(playlist_id, f"Playlist {playlist_id}", tuple(media), malformed)


async def test_from_nothing_to_ready(library: Library, shelf: Shelf, heard: Heard) -> None:
    """Counts as files come, `ready` at the end, files named as they come."""
    library.update([made(1, "a", "b")], {1}, again=False)
    await until(lambda: len(shelf.asked) == 2)
    assert heard.reports == [(1, "downloading", 0, False)]
    assert (shelf.asked, library.busy, library.ready()) == ([("a", 0), ("b", 0)], True, [])
    shelf.gate("b").set()
    await until(lambda: heard.files == [1])
    shelf.gate("a").set()
    await until(lambda: heard.done == [1])
    assert heard.reports[1:] == [(1, "downloading", 1, False), (1, "downloading", 2, False), (1, "ready", 2, True)]
    assert (library.busy, library.ready(), shelf.kept) == (False, [1], ["a", "b"])
    assert library.path_of(made(1, "a").media[0]) == "/a"


async def test_the_urgent_first(library: Library, shelf: Shelf) -> None:
    """Others have the higher value."""
    library.update([made(1, "a"), made(2, "b")], {2}, again=False)
    await until(lambda: len(shelf.asked) == 2)
    assert shelf.asked == [("b", 0), ("a", 10)]


async def test_hurry_asks_anew_with_another_urgency(library: Library, shelf: Shelf) -> None:
    """Also when it is on its way; once is enough."""
    library.update([made(1, "a"), made(2, "b")], {1}, again=False)
    await until(lambda: len(shelf.asked) == 2)
    library.hurry(2)
    library.hurry(2)
    await until(lambda: len(shelf.asked) == 3)
    assert shelf.asked[-1] == ("b", 0)
    library.hurry(99)


async def test_the_same_content_again_disturbs_nothing(library: Library, shelf: Shelf, heard: Heard) -> None:
    """A reload while the download runs."""
    library.update([made(1, "a")], set(), again=False)
    await until(lambda: shelf.asked)
    library.update([made(1, "a")], set(), again=True)
    shelf.gate("a").set()
    await until(lambda: heard.done == [1])
    assert (len(shelf.asked), [word for _, word, _, _ in heard.reports]) == (1, ["downloading", "downloading", "ready"])


async def test_complete_on_disk(library: Library, shelf: Shelf, heard: Heard) -> None:
    """`ready` without asking for a file; repeated only when it is asked for."""
    shelf.have = {"a"}
    await library.look([made(1, "a")])
    assert library.ready() == [1]
    for again in (False, True):
        library.update([made(1, "a")], set(), again=again)
        await until(lambda n=again: len(heard.done) == n + 1)  # type: ignore[misc]
    assert (heard.reports, shelf.asked) == ([(1, "ready", 1, False), (1, "ready", 1, True)], [])


async def test_failures(library: Library, shelf: Shelf, heard: Heard) -> None:
    """`downloading` again after the one that failed, `partial` with names; the cause of a playlist of which nothing came."""
    shelf.faults = {"b": FetchError("http", "HTTP status 404", temporary=False), "c": FetchError("network", "network: down")}
    library.update([made(1, "a", "b", malformed=("x",)), made(2, "c"), made(3), made(4, malformed=("y",))], set(), again=False)
    for name in "bca":
        shelf.gate(name).set()
        await asyncio.sleep(0.01)
    await until(lambda: len(heard.done) == 4)
    holdings = library.holdings
    assert [(holdings[i].status, holdings[i].missing, holdings[i].error) for i in (1, 2, 3, 4)] == [
        ("partial", ["b", "x"], ""),
        ("failed", ["c"], "network: down"),
        ("failed", [], "playlist has no items"),
        ("failed", ["y"], "no item of the playlist is usable"),
    ]
    assert (1, "downloading", 0, True) in heard.reports
    assert library.waiting_for_more
    shelf.faults.clear()
    library.update([made(1, "a", "b")], set(), again=False)
    await until(lambda: library.ready() == [1])
    assert not library.waiting_for_more


async def test_trouble_inside_stays_with_its_playlist(
    library: Library, shelf: Shelf, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours fails one playlist and is tried again; the others go on."""
    shelf.faults = {"a": ZeroDivisionError("on purpose")}
    library.update([made(1, "a"), made(2, "b")], set(), again=False)
    shelf.gate("a").set()
    shelf.gate("b").set()
    await until(lambda: sorted(heard.done, key=str) == [1, 2])
    assert (library.holdings[1].status, library.ready(), library.waiting_for_more) == ("failed", [2], True)
    assert "ZeroDivisionError" in caplog.text
    assert "on purpose" not in library.holdings[1].error


async def test_a_lost_file(library: Library, shelf: Shelf, heard: Heard) -> None:
    """Whoever used it is no longer ready, from that moment, and fetches it again; others are left alone."""
    shelf.have = {"a", "b", "c"}
    library.update([made(1, "a", "b"), made(2, "a"), made(3, "c")], set(), again=False)
    await until(lambda: len(heard.done) == 3)
    shelf.have.remove("a")
    ready: list[list[Id]] = []
    library._on_files = lambda _id: ready.append(library.ready())
    await library.look_for_losses()
    assert ready == [[2, 3], [3]]
    await until(lambda: [name for name, _ in shelf.asked] == ["a", "a"])
    assert heard.reports[3:] == [(1, "downloading", 1, False), (2, "downloading", 0, False)]
    shelf.gate("a").set()
    await until(lambda: sorted(library.ready(), key=str) == [1, 2, 3])


async def test_a_lost_file_that_another_playlist_noticed_first(library: Library, shelf: Shelf, heard: Heard) -> None:
    """Whoever shares it is told all the same."""
    shelf.have = {"a", "b"}
    library.update([made(1, "a"), made(2, "a", "b")], set(), again=False)
    await until(lambda: len(heard.done) == 2)
    shelf.have.remove("a")
    library.hurry(1)
    await until(lambda: shelf.asked)
    await library.look_for_losses()
    assert library.ready() == []
    await until(lambda: (2, "downloading", 1, False) in heard.reports)


async def test_a_changed_playlist(library: Library, shelf: Shelf, heard: Heard) -> None:
    """It is no longer ready until it is complete again; one that is gone is stopped."""
    shelf.have = {"a"}
    library.update([made(1, "a"), made(2, "x")], set(), again=False)
    await until(lambda: library.ready() == [1])
    library.update([made(1, "a", "b")], set(), again=False)
    assert (library.ready(), list(library.holdings), shelf.kept) == ([], [1], ["a", "b"])
    shelf.gate("b").set()
    await until(lambda: library.ready() == [1])
    shelf.gate("x").set()
    await asyncio.sleep(0.02)
    assert "x" not in shelf.have


async def test_forget(library: Library, shelf: Shelf, heard: Heard) -> None:
    """Files of these playlists and of vanished ones go, but not what others use; running downloads stop."""
    shelf.have = {"a", "b", "c", "d"}
    library.update([made(1, "a", "b"), made(2, "b", "c"), made(3, "d"), made(4, "e")], set(), again=False)
    await until(lambda: library.ready() == [1, 2, 3])
    library.update([made(1, "a", "b"), made(2, "b", "c"), made(4, "e")], set(), again=False)
    assert await library.forget({2, 4, 99}) == 3
    assert (shelf.discarded, shelf.kept, list(library.holdings)) == (["c", "d", "e"], ["a", "b"], [1])
    assert library.path_of(made(2, "c").media[0]) == ""
    await until(lambda: not library.busy)
    assert await library.forget({2}) == 0


async def test_a_long_playlist(library: Library, shelf: Shelf) -> None:
    """The store is asked for a window of it at a time; all of it comes in the end."""
    names = [f"n{number}" for number in range(500)]
    tasks = len(asyncio.all_tasks())
    library.update([made(1, *names)], set(), again=False)
    await until(lambda: len(shelf.asked) == 64)
    await asyncio.sleep(0.02)
    assert len(shelf.asked) == 64
    assert len(asyncio.all_tasks()) <= tasks + 66
    for name in names:
        shelf.gate(name).set()
    await until(lambda: library.ready() == [1])
    assert [name for name, _ in shelf.asked] == names


async def test_paths_are_gone_before_the_files(library: Library, shelf: Shelf) -> None:
    """From the moment a clean-up begins nobody puts on what it deletes; what others use stays."""
    shelf.have = {"a", "b"}
    library.update([made(1, "a"), made(2, "a", "b")], set(), again=False)
    await until(lambda: library.ready() == [1, 2])
    forgetting = library.forget({2})
    forgetting.send(None)
    assert [library.path_of(media) for media in made(2, "a", "b").media] == ["/a", ""]
    forgetting.close()


async def test_a_file_deleted_although_asked_for_again(library: Library, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody wants a playlist back while it is being deleted, and its files are still found: they are fetched again."""
    shelf.have = {"a", "b"}
    library.update([made(1, "a"), made(2, "b")], set(), again=False)
    await until(lambda: library.ready() == [1, 2])

    async def discard(_wants: Collection[Want]) -> int:
        library.update([made(1, "a"), made(2, "b")], {2}, again=False)
        await until(lambda: library.ready() == [1, 2])
        shelf.have.discard("b")
        return 1

    monkeypatch.setattr(shelf, "discard", discard)
    await library.forget({2})
    await until(lambda: bool(shelf.asked))
    shelf.gate("b").set()
    await until(lambda: library.ready() == [1, 2])
    assert "b" in shelf.have
