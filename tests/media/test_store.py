"""agent.media.store and agent.media.job"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from agent.media import FetchError, MediaStore, Want
from agent.media.files import matches
from agent.media.wants import part_name
from agent.system.state import State
from tests.media.conftest import MakeStore
from tests.media.origin import Origin, md5, random_bytes, sha256

BODY = random_bytes(1_000_000)
DEADLINE_S = 10

CHILD = """
import asyncio, sys
from pathlib import Path
from agent.media import MediaStore, Want
from agent.system.state import State

async def main(place, url, size, *digests):
    state = await State.open(Path(place) / "state.db")
    store = MediaStore(Path(place) / "media", state, quota_bytes=1 << 40, reserve_bytes=0, parallel=2)
    await store.start()
    print("started", flush=True)
    wants = [Want(f"{url}/{n}", str(n), int(size), digest) for n, digest in enumerate(digests)]
    await asyncio.gather(*(store.fetch(want) for want in wants))
    print("done", flush=True)
    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


def want(origin: Origin, path: str = "/a", **options: object) -> Want:
    """A file of `origin`."""
    values = {"size_bytes": len(BODY), "checksum": md5(BODY), **options}
    return Want(origin.url + path, path[1:], **values)  # type: ignore[arg-type]


async def until(condition: object) -> None:
    """Waits until `condition()` holds."""
    assert callable(condition)
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.002)


async def test_find_never_downloads(store: MediaStore, origin: Origin) -> None:
    """Only `fetch` asks the server; afterwards `find` has the file, whatever the case of the checksum."""
    origin.put("/a", BODY)
    assert await store.find(want(origin)) is None
    assert origin.requests == []
    path = await store.fetch(want(origin))
    assert await store.find(want(origin, checksum=md5(BODY).upper())) == path
    assert await store.find(want(origin, size_bytes=None)) == path
    assert await store.find(want(origin, size_bytes=5)) is None
    assert await store.find(want(origin, checksum="junk")) is None


async def test_one_file_for_equal_content(store: MediaStore, origin: Origin) -> None:
    """A file used twice is stored once, also when one of the servers names no checksum."""
    for path in ("/a", "/b", "/c"):
        origin.put(path, BODY)
    paths = {
        await store.fetch(want(origin, "/a")),
        await store.fetch(want(origin, "/b")),
        await store.fetch(want(origin, "/c", checksum="")),
    }
    assert len(paths) == 1
    assert [request.path for request in origin.requests] == ["/a", "/c"]
    assert store.used_bytes() == len(BODY)
    assert len(list(store.directory.iterdir())) == 1
    assert await store.fetch(want(origin, checksum=sha256(BODY))) not in paths


@pytest.mark.parametrize("name", ["../../escape", "/tmp/escape", "a/b", "..", "", "\0", "\ud800", "x" * 4000, "con\n"])
async def test_names_are_only_for_people(store: MediaStore, origin: Origin, tmp_path: Path, name: str) -> None:
    """No name of a server becomes a path."""
    before = {path for path in tmp_path.iterdir() if "state.db" not in path.name}
    origin.put("/a", BODY)
    path = await store.fetch(Want(origin.url + "/a", name, len(BODY), md5(BODY)))
    assert path == store.directory / f"md5-{md5(BODY)}"
    assert {path for path in tmp_path.iterdir() if "state.db" not in path.name} == before


async def test_changed_size_of_an_address_without_checksum(store: MediaStore, origin: Origin) -> None:
    """Another size says that the file behind the address is another."""
    origin.put("/a", BODY)
    old = want(origin, checksum="")
    await store.fetch(old)
    origin.put("/a", BODY[1:])
    new = want(origin, checksum="", size_bytes=len(BODY) - 1)
    assert await store.find(new) is None
    assert (await store.fetch(new)).read_bytes() == BODY[1:]


async def test_contradicting_size_and_checksum(store: MediaStore, origin: Origin) -> None:
    """A file whose checksum fits and whose size does not is not handed out, and not downloaded for that."""
    origin.put("/a", BODY)
    await store.fetch(want(origin))
    with pytest.raises(FetchError, match="the file with this checksum has 1000000 bytes, not 5") as caught:
        await store.fetch(want(origin, size_bytes=5))
    assert caught.value.cause == "size"
    assert len(origin.requests) == 1


async def test_progress(store: MediaStore, origin: Origin) -> None:
    """Received and total grow to the size, and the status shows the same."""
    origin.put("/a", BODY, holds_after=300_000)
    seen: list[tuple[int, int | None]] = []
    fetching = asyncio.create_task(store.fetch(want(origin), on_bytes=lambda *numbers: seen.append(numbers)))
    await until(lambda: store.downloads() and store.downloads()[0].received_bytes == 300_000)
    [status] = store.downloads()
    assert (status.name, status.total_bytes) == ("a", len(BODY))
    origin.files["/a"].released.set()
    await fetching
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)
    assert store.downloads() == []


async def test_progress_that_stops(make_store: MakeStore, origin: Origin) -> None:
    """What came last is told, too, when nothing comes after it; not more often than it should be."""
    store = await make_store(timers={"progress_s": 0.1})
    origin.put("/a", BODY, holds_after=300_000)
    seen: list[int] = []
    fetching = asyncio.create_task(store.fetch(want(origin), on_bytes=lambda received, _total: seen.append(received)))
    await until(lambda: seen and seen[-1] == 300_000)
    assert len(seen) < 5
    origin.files["/a"].released.set()
    await fetching
    assert seen[-1] == len(BODY)


async def test_failing_progress_listener(store: MediaStore, origin: Origin) -> None:
    """A listener's failure does not end the download."""
    origin.put("/a", BODY)

    def fail(_received: int, _total: int | None) -> None:
        raise RuntimeError("listener")

    assert (await store.fetch(want(origin), on_bytes=fail)).read_bytes() == BODY


async def test_single_flight(store: MediaStore, origin: Origin) -> None:
    """Two playlists wanting the same file share one download, and both see its progress."""
    origin.put("/a", BODY, holds_after=300_000)
    origin.put("/b", BODY)
    seen: list[list[int]] = [[], []]
    wanted = [want(origin, "/a"), want(origin, "/b")]
    fetching = [
        asyncio.create_task(store.fetch(one, on_bytes=lambda received, _, numbers=numbers: numbers.append(received)))  # type: ignore[misc]
        for one, numbers in zip(wanted, seen, strict=True)
    ]
    await until(lambda: seen[0] and seen[1])
    origin.files["/a"].released.set()
    assert len(set(await asyncio.gather(*fetching))) == 1
    assert seen[0][-1] == seen[1][-1] == len(BODY)
    assert len(origin.requests) == 1


async def test_one_of_two_cancelled(store: MediaStore, origin: Origin) -> None:
    """Who is cancelled does not stop the other; the last one does, and the part stays for later."""
    file = origin.put("/a", BODY, holds_after=300_000)
    first, second, third = (asyncio.create_task(store.fetch(want(origin))) for _ in range(3))
    await until(lambda: store.downloads() and store.downloads()[0].received_bytes == 300_000)
    first.cancel()
    second.cancel()
    await asyncio.wait([first, second])
    assert len(store.downloads()) == 1
    third.cancel()
    await asyncio.wait([third])
    assert third.cancelled()
    assert store.downloads() == []
    part = store.directory / part_name(want(origin))
    assert part.read_bytes() == BODY[:300_000]
    file.released.set()
    assert (await store.fetch(want(origin))).read_bytes() == BODY
    assert origin.seen("Range") == [None, "bytes=300000-"]


async def test_again_while_stopping(store: MediaStore, origin: Origin) -> None:
    """Who asks while a download is being stopped waits for its end and begins a new one."""
    file = origin.put("/a", BODY, holds_after=300_000)
    for _ in range(20):
        fetching = asyncio.create_task(store.fetch(want(origin)))
        await asyncio.sleep(random.uniform(0, 0.02))
        fetching.cancel()
        again = asyncio.create_task(store.fetch(want(origin)))
        await asyncio.sleep(random.uniform(0, 0.002))
        again.cancel()
        await asyncio.wait([fetching, again])
    file.released.set()
    assert (await store.fetch(want(origin))).read_bytes() == BODY


async def test_another_address_helps_out(store: MediaStore, origin: Origin) -> None:
    """When the shared download fails with one address, who has another one tries that."""
    origin.put("/bad", BODY, statuses=[404])
    origin.put("/good", BODY)
    bad = asyncio.create_task(store.fetch(want(origin, "/bad")))
    good = asyncio.create_task(store.fetch(want(origin, "/good")))
    with pytest.raises(FetchError, match="404"):
        await bad
    assert (await good).read_bytes() == BODY


async def test_equal_content_from_two_addresses_at_once(store: MediaStore, origin: Origin) -> None:
    """Two downloads without a checksum that turn out to be the same file end well."""
    for number in range(6):
        origin.put(f"/{number}", BODY)
    paths = await asyncio.gather(*(store.fetch(want(origin, f"/{number}", checksum="")) for number in range(6)))
    assert len(set(paths)) == 1
    assert store.used_bytes() == len(BODY)
    assert [path.name for path in store.directory.iterdir()] == [paths[0].name]
    for number in range(6):
        assert await store.find(want(origin, f"/{number}", checksum="")) == paths[0]


async def test_parallel_limit_and_order(make_store: MakeStore, origin: Origin) -> None:
    """Never more than `parallel` at a time; the lower urgency first."""
    store = await make_store(parallel=2)
    bodies = [random_bytes(1000, seed) for seed in range(8)]
    for number, body in enumerate(bodies):
        origin.put(f"/{number}", body, pause_s=0.01)
    async with asyncio.TaskGroup() as tasks:
        for number, body in enumerate(bodies):
            one = Want(f"{origin.url}/{number}", "x", None, md5(body))
            tasks.create_task(store.fetch(one, urgency=1 if number in (6, 7) else 2))
    assert origin.most_busy <= 2
    paths = [request.path for request in origin.requests]
    assert {*paths[:2], *paths[2:4]} >= {"/6", "/7"}


async def test_the_playing_playlist_pushes_in(make_store: MakeStore, origin: Origin) -> None:
    """A less urgent download that can be resumed gives its slot up, and goes on afterwards where it stopped."""
    store = await make_store(parallel=1)
    other = random_bytes(100_000, 7)
    origin.put("/slow", BODY, pause_s=0.02, piece_bytes=50_000)
    origin.put("/urgent", other)
    order: list[str] = []

    async def fetch(one: Want, urgency: int) -> None:
        await store.fetch(one, urgency=urgency)
        order.append(one.name)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fetch(want(origin, "/slow"), 5))
        await until(lambda: any(status.received_bytes for status in store.downloads()))
        tasks.create_task(fetch(Want(origin.url + "/urgent", "urgent", None, md5(other)), 1))
    assert order == ["urgent", "slow"]
    assert [request.path for request in origin.requests] == ["/slow", "/urgent", "/slow"]
    assert int((origin.seen("Range")[2] or "bytes=0-")[6:-1]) > 0


async def test_who_joins_hurries_a_waiting_download(make_store: MakeStore, origin: Origin) -> None:
    """A download takes the urgency of the most urgent of those who wait for it."""
    store = await make_store(parallel=1)
    origin.put("/running", BODY, holds_after=0, ranges=False)
    bodies = {path: random_bytes(1000, seed) for seed, path in enumerate(("/b", "/c"))}
    for path, body in bodies.items():
        origin.put(path, body)
    wanted = {path: Want(origin.url + path, path, None, md5(body)) for path, body in bodies.items()}
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.fetch(want(origin, "/running"), urgency=9))
        await until(lambda: origin.requests)
        tasks.create_task(store.fetch(wanted["/b"], urgency=8))
        tasks.create_task(store.fetch(wanted["/c"], urgency=9))
        await asyncio.sleep(0.01)
        tasks.create_task(store.fetch(wanted["/c"], urgency=1))
        await asyncio.sleep(0.01)
        origin.files["/running"].released.set()
    assert [request.path for request in origin.requests] == ["/running", "/c", "/b"]


async def test_discard(store: MediaStore, origin: Origin) -> None:
    """Files nobody keeps or holds are deleted and counted, unfinished ones with them."""
    bodies = [random_bytes(1000, seed) for seed in range(4)]
    for number, body in enumerate(bodies):
        origin.put(f"/{number}", body)
    wanted = [Want(f"{origin.url}/{number}", str(number), None, md5(body)) for number, body in enumerate(bodies)]
    paths = [await store.fetch(one) for one in wanted]
    unfinished = want(origin)
    origin.put("/a", BODY, cuts=[1000] * 9, ranges=False)
    with pytest.raises(FetchError):
        await store.fetch(unfinished)
    store.keep("other playlist", [wanted[1]])
    store.hold("front", [paths[2]])
    assert await store.discard([*wanted, unfinished, want(origin, checksum="junk")]) == 2
    assert sorted(store.directory.iterdir()) == sorted(paths[1:3])
    assert store.used_bytes() == 2000
    assert await store.discard(wanted) == 0


async def test_close_stops_downloads(make_store: MakeStore, origin: Origin) -> None:
    """Whoever waits is told; afterwards nothing is begun any more; the part is there for the next start."""
    store = await make_store()
    origin.put("/a", BODY, holds_after=300_000)
    fetching = asyncio.create_task(store.fetch(want(origin)))
    await until(lambda: store.downloads() and store.downloads()[0].received_bytes == 300_000)
    await store.close()
    with pytest.raises(FetchError) as caught:
        await fetching
    assert caught.value.cause == "stopped"
    with pytest.raises(FetchError, match="closed"):
        await store.fetch(want(origin))
    assert await store.find(want(origin)) is None
    again = await make_store()
    origin.files["/a"].released.set()
    assert (await again.fetch(want(origin))).read_bytes() == BODY
    assert origin.seen("Range")[-1] == "bytes=300000-"


async def test_close_at_once(make_store: MakeStore, origin: Origin) -> None:
    """Closing in the moment a download is begun leaves nobody waiting."""
    store = await make_store()
    origin.put("/a", BODY, holds_after=300_000)
    fetching = asyncio.create_task(store.fetch(want(origin)))
    await asyncio.sleep(0)
    assert store._jobs
    await asyncio.wait_for(store.close(), DEADLINE_S)
    with pytest.raises(FetchError):
        await asyncio.wait_for(fetching, DEADLINE_S)


async def test_errors_inside(store: MediaStore, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the store itself is an error like others for those who wait, and is logged with its place."""

    def fail(*_args: object) -> None:
        raise RuntimeError("fault")

    monkeypatch.setattr("agent.media.download.judge", fail)
    origin.put("/a", BODY)
    with pytest.raises(FetchError, match="failed inside the agent: RuntimeError"):
        await store.fetch(want(origin))


async def test_limits_can_be_changed(store: MediaStore, origin: Origin) -> None:
    """New limits hold for the next download."""
    origin.put("/a", BODY)
    store.set_limits(quota_bytes=10, reserve_bytes=0, parallel=1)
    with pytest.raises(FetchError, match="storage full"):
        await store.fetch(want(origin))
    assert store.total_bytes() >= store.free_bytes() > 0


async def test_killed_at_any_moment(origin: Origin, tmp_path: Path, make_store: MakeStore, state: State) -> None:
    """After kill -9 in the middle of downloads the next process goes on; nothing unverified is ever handed out."""
    bodies = [random_bytes(600_000, seed) for seed in range(4)]
    wanted = []
    for number, body in enumerate(bodies):
        origin.put(f"/{number}", body, piece_bytes=5_000, pause_s=0.002)
        wanted.append(Want(f"{origin.url}/{number}", str(number), len(body), md5(body)))
    place = tmp_path / "child"
    command = [sys.executable, "-c", CHILD, str(place), origin.url, "600000", *(one.checksum for one in wanted)]
    for _ in range(4):
        child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        assert child.stdout is not None
        await child.stdout.readline()
        before = len(origin.requests)
        with contextlib.suppress(TimeoutError):  # everything may be there already
            async with asyncio.timeout(2):
                await until(lambda before=before: len(origin.requests) > before)
        await asyncio.sleep(random.uniform(0.0, 0.25))
        child.kill()
        await child.wait()
        for path in (place / "media").iterdir():
            if "." not in path.name:
                assert matches(path, path.name.replace("-", ":"))
    for file in origin.files.values():
        file.pause_s = 0
    child_state = await State.open(place / "state.db")
    store = MediaStore(place / "media", child_state, quota_bytes=1 << 40, reserve_bytes=0, parallel=2)
    await store.start()
    for one, body in zip(wanted, bodies, strict=True):
        assert (await store.fetch(one)).read_bytes() == body
    await store.close()
    await child_state.close()
    assert any(origin.seen("Range"))
