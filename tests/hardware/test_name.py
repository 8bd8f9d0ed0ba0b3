"""What the device is called, and until when."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.hardware.name import NAME_KEY, DeviceName, is_name
from agent.system.state import State, StateError


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    state = await State.open(tmp_path / "state.db")
    yield state
    await state.close()


async def load(state: State, configured: str = "Lobby") -> DeviceName:
    return await DeviceName.load(state, configured=configured, fallback="SERIAL-1")


async def test_configured_or_the_serial(state: State) -> None:
    """Nobody has named it yet."""
    assert (await load(state)).value == "Lobby"
    assert (await load(state, "")).value == "SERIAL-1"
    assert str(await load(state)) == "Lobby"


async def test_a_servers_name_holds_until_the_configured_one_changes(state: State) -> None:
    """Over restarts with the same configuration, not over one with another, and not again with the first."""
    name = await load(state)
    await name.set("Ҳолл 🏢")
    assert name.value == "Ҳолл 🏢"
    assert (await load(state)).value == "Ҳолл 🏢"
    assert (await load(state, "Foyer")).value == "Foyer"
    other = await load(state, "Foyer")
    await other.set("Gate 3")
    assert (await load(state, "Foyer")).value == "Gate 3"
    assert (await load(state)).value == "Lobby"


async def test_a_name_does_not_come_back(state: State) -> None:
    """Configured A, named by a server, configured B, configured A again: A, not what the server had said."""
    await (await load(state, "A")).set("Gate 3")
    assert (await load(state, "B")).value == "B"
    assert (await load(state, "A")).value == "A"


async def test_a_full_disk_at_the_start(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured name holds, although the old one cannot be forgotten."""
    await (await load(state, "A")).set("Gate 3")

    async def put(*_: object, **__: object) -> None:
        raise StateError("no space left")

    monkeypatch.setattr(state, "put", put)
    assert (await load(state, "B")).value == "B"


async def test_on_disk_before_it_is_reported(state: State, tmp_path: Path) -> None:
    """When `set` returns, and when listeners are told, another process finds it in the file."""
    name = await load(state)
    seen: list[str] = []

    def look() -> None:
        with sqlite3.connect(tmp_path / "state.db") as database:
            [(text,)] = database.execute("SELECT value FROM settings WHERE key = ?", (NAME_KEY,)).fetchall()
            seen.append(json.loads(text)["name"])

    name.on_change(look)
    await name.set("Gate 3")
    await name.set("Gate 3")
    assert seen == ["Gate 3"], "told once"


async def test_the_last_one_wins(state: State) -> None:
    """On disk as in memory, however many are set at once; a caller that leaves changes nothing about it."""
    name = await load(state)
    setting = [asyncio.create_task(name.set(f"name {number}")) for number in range(20)]
    await asyncio.sleep(0)
    setting[0].cancel()
    await asyncio.gather(*setting, return_exceptions=True)
    assert name.value == (await load(state)).value == "name 19"
    leaving = asyncio.create_task(name.set("left"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait({leaving})
    assert name.value == (await load(state)).value


async def test_a_full_disk(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be stored is not in force."""
    name = await load(state)

    async def put(*_: object, **__: object) -> None:
        raise StateError("no space left")

    monkeypatch.setattr(state, "put", put)
    with pytest.raises(StateError):
        await name.set("Gate 3")
    assert name.value == "Lobby"


@pytest.mark.parametrize("value", ["", "  \t", "x" * 65, None, 5, True, "\ud800"])
async def test_what_is_no_name(state: State, value: object) -> None:
    """Refused, and never taken from the disk."""
    assert not is_name(value)
    name = await load(state)
    with pytest.raises(ValueError, match="1 to 64 characters"):
        await name.set(value)  # type: ignore[arg-type]
    await state.put(NAME_KEY, {"name": value, "configured": "Lobby"})
    assert (await load(state)).value == "Lobby"


async def test_a_spoilt_entry(state: State) -> None:
    """Something else under the key is as good as nothing."""
    entries: tuple[object, ...] = ("text", 3, [], {"name": "x"}, {"configured": "Lobby"})
    for entry in entries:
        await state.put(NAME_KEY, entry)
        assert (await load(state)).value == "Lobby"
    assert is_name("x" * 64)
