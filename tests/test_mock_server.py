"""The fake signage server by itself: REST, sockets, files, faults, playlists, and the command that starts it for people."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.servers import (
    LOGIN_PATH,
    OMIT,
    PLAYLISTS_PATH,
    REFRESH_PATH,
    SOCKET_PATH,
    SignageServer,
    item,
    playlist,
)
from tests.servers.demo import furnish
from tests.servers.make_media import make_media
from tests.servers.prompt import run_line
from tests.servers.standin import StandIn, say
from tests.servers.tokens import ExpiryForm

CHECKOUT = Path(__file__).parents[1]
EXAMPLES = CHECKOUT / "tests" / "examples" / "signage"
SERIAL = "LOBBY 01+&"
JPEG = b"\xff\xd8\xff\xe0 not much of a picture"


@pytest.fixture
async def server() -> AsyncIterator[SignageServer]:
    async with SignageServer() as server:
        yield server


@pytest.fixture
async def device(server: SignageServer) -> AsyncIterator[StandIn]:
    async with StandIn(server, SERIAL) as device:
        yield device


# tokens


@pytest.mark.parametrize(
    ("form", "key", "kind"),
    [("int", "expires_in", int), ("str", "expire_in", str), ("iso", "expires_in", datetime), ("none", "", None)],
)
async def test_login_tells_the_lifetime_in_each_way(
    server: SignageServer, device: StandIn, form: ExpiryForm, key: str, kind: type | None
) -> None:
    """Number, numeric string, date, or only the token's own claim."""
    server.tokens.expires_form, server.tokens.access_lifetime_s = form, 600
    server.tokens.expires_key = key or "expires_in"
    answer = await device.login()
    claims = json.loads(base64.urlsafe_b64decode(answer["access"].split(".")[1] + "=="))
    assert claims["exp"] == pytest.approx(time.time() + 600, abs=3)
    if kind is None:
        assert not {"expires_in", "expire_in"} & answer.keys()
    elif kind is datetime:
        assert datetime.fromisoformat(answer[key]).timestamp() == pytest.approx(claims["exp"], abs=3)
    else:
        assert type(answer[key]) is kind
        assert int(answer[key]) == 600


async def test_wrong_credentials_are_a_400(server: SignageServer, device: StandIn) -> None:
    """With the error body of the contract."""
    status, answer = await device.post(LOGIN_PATH, {"username": "demo", "password": "wrong"})
    assert (status, answer["status_code"]) == (400, 400)
    assert server.requests[-1].body == {"username": "demo", "password": "wrong"}


async def test_refresh(server: SignageServer, device: StandIn) -> None:
    """Gives a new access token; a new refresh token only if told to, and then the old one is over."""
    await device.login()
    status, answer = await device.post(REFRESH_PATH, {"refresh": device.refresh})
    assert status == 200
    assert "refresh" not in answer
    assert server.tokens.valid(answer["access"])
    server.tokens.rotate_refresh = True
    status, answer = await device.post(REFRESH_PATH, {"refresh": device.refresh})
    assert answer["refresh"] != device.refresh
    assert (await device.post(REFRESH_PATH, {"refresh": device.refresh}))[0] == 401
    server.refuse_refresh = True
    assert (await device.post(REFRESH_PATH, {"refresh": answer["refresh"]}))[0] == 401


async def test_expired_tokens_are_a_401(server: SignageServer, device: StandIn) -> None:
    """By command or by time; an access token is no refresh token."""
    await device.ready()
    assert (await device.post(REFRESH_PATH, {"refresh": device.token}))[0] == 401
    server.tokens.expire_access()
    assert (await device.playlists())[0] == 401
    server.tokens.access_lifetime_s = -1
    await device.login()
    assert (await device.playlists())[0] == 401


# devices and playlists


async def test_an_unknown_device_must_register(server: SignageServer, device: StandIn) -> None:
    """404, then 201 and the playlists; 200 when it registers again."""
    server.offer([playlist(101, [])], current=101)
    await device.login()
    assert (await device.playlists())[0] == 404
    status, answer = await device.register()
    assert (status, answer["data"]["sn_number"]) == (201, SERIAL)
    assert (await device.register(volume=61))[0] == 200
    status, answer = await device.playlists()
    assert answer["front_screen"]["current_playlist"] == 101
    assert [answer[f"{side}_screen"] for side in ("back", "right", "left")] == [None] * 3
    assert [body["volume"] for body in server.device(SERIAL).registered] == [60, 61]


@pytest.mark.parametrize(
    ("field", "value"), [("free_storage", OMIT), ("volume", "60"), ("brightness", True), ("ip_address", None)]
)
async def test_a_registration_is_checked(device: StandIn, field: str, value: object) -> None:
    """A required field that is missing or of the wrong type is named in a 400."""
    await device.login()
    status, answer = await device.register(**{field: value})
    assert status == 400
    assert field in answer["message"]


async def test_playlists_per_device_and_side(server: SignageServer, device: StandIn) -> None:
    """A device's own screens take the place of those offered to all; raw text takes the place of everything."""
    await device.ready()
    server.offer([playlist(1, [])])
    server.offer([playlist(2, [])], side="back", serial=SERIAL)
    _, answer = await device.playlists()
    assert answer["front_screen"] is None
    assert answer["back_screen"]["playlists"][0]["id"] == 2
    server.device(SERIAL).raw_screens = '{"front_screen": 7}'
    assert (await device.playlists())[1] == {"front_screen": 7}


def test_the_factories_follow_the_contract() -> None:
    """All fields of section 2, any of them replaced or left out, malformed entries as they are."""
    made = playlist(
        5, [item(), item(layout=(1, 2, 3, 4), fade=(1, 2)), item(order=OMIT, checksum=OMIT, file_size="big"), "junk"], name=None
    )
    assert set(made) == {"id", "name", "width", "height", "duration", "media_items", "playback_config", "status"}
    first, second, third, junk = made["media_items"]
    assert set(first) == {
        *("media_id", "order", "media_name", "media_type", "mimetype", "media_url", "file_size", "checksum"),
        *("layout", "timing", "effects", "n_time_play"),
    }
    assert second["layout"] == {"x": 1, "y": 2, "width": 3, "height": 4, "z_index": 0}
    assert second["effects"] == {"fade_in": 1, "fade_out": 2, "transition": "fade"}
    assert [entry["order"] for entry in (first, second, third)] == [0, 1, 2]
    assert "checksum" not in third
    assert (third["file_size"], junk, made["name"]) == ("big", "junk", None)


@pytest.mark.parametrize("cloud", [False, True])
async def test_screenshots_in_both_forms(server: SignageServer, device: StandIn, cloud: bool) -> None:
    """A JPEG is kept with its fields; anything else is refused."""
    await device.ready()
    assert await device.upload(JPEG, media_id=1007, cloud=cloud) == 200
    shot = await server.device(SERIAL).wait_screenshot()
    assert (shot.image, shot.fields["media_id"], shot.form) == (JPEG, "1007", "cloud" if cloud else "device")
    assert await device.upload(b"GIF89a", cloud=cloud) == 400
    device.token = "nobody"
    assert await device.upload(JPEG, cloud=cloud) == 401


async def test_faults_before_an_answer(server: SignageServer, device: StandIn) -> None:
    """Statuses, resets, delays and foreign bodies, counted and skipped as asked."""
    await device.ready()
    fault = server.fault(PLAYLISTS_PATH, status=500, times=2, skip=1)
    assert [(await device.playlists())[0] for _ in range(4)] == [200, 500, 500, 200]
    assert fault.hits == 2
    server.fault(LOGIN_PATH, drop=True, times=1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await device.login()
    server.fault(PLAYLISTS_PATH, body="{}", delay_s=0.2, times=1)
    begun = time.monotonic()
    assert await device.playlists() == (200, {})
    assert time.monotonic() - begun >= 0.2


# sockets


async def test_a_socket_both_ways(server: SignageServer, device: StandIn) -> None:
    """Greeting, commands, messages, and what the server makes of them."""
    await device.ready()
    async with device.connect() as socket:
        known = await server.connected(SERIAL)
        assert json.loads(await socket.recv())["type"] == "connection_established"
        await server.send(SERIAL, {"action": "set_volume", "volume": 140})
        assert json.loads(await socket.recv()) == {"action": "set_volume", "volume": 140}
        assert known.volume == 100
        await server.send_raw(SERIAL, "{nonsense")
        await server.send_raw(SERIAL, b"\0\1")
        assert [await socket.recv(), await socket.recv()] == ["{nonsense", b"\0\1"]
        await socket.send("not json")
        await say(socket, type="ready_playlists", playlist_ids=[101])
        await say(socket, type="playlist_status", playlist_id=101, status="ready", total_items=7, downloaded_items=7)
        assert (await known.wait_for(status="ready"))["total_items"] == 7
        assert (known.ready, known.statuses[101]["status"], known.live) == ([101], "ready", 1)
        assert known.messages[0].data is None
        assert known.messages[0].raw == "not json"
    await server.wait_for(lambda: known.live == 0)
    with pytest.raises(ConnectionError):
        await server.send(SERIAL, {"action": "play"})


async def test_waiting_for_messages(server: SignageServer, device: StandIn) -> None:
    """Returns when the message comes, looks only behind the mark, and says on time-out what came instead."""
    await device.ready()
    async with device.connect() as socket:
        known = await server.connected(SERIAL)
        await say(socket, type="ready_playlists", playlist_ids=[])
        await known.wait_for(type="ready_playlists")
        mark = known.mark()
        later = asyncio.create_task(known.wait_for(lambda said: said["playlist_ids"] == [9], since=mark), name="later")
        await say(socket, type="ready_playlists", playlist_ids=[9])
        assert (await later)["playlist_ids"] == [9]
        with pytest.raises(TimeoutError, match=r"status.*failed.*last frames.*ready_playlists"):
            await known.wait_for(status="failed", timeout_s=0.05)


async def test_sockets_are_refused(server: SignageServer, device: StandIn) -> None:
    """403 without a valid token, any status or close code on demand, and then the next one is taken."""
    with pytest.raises(InvalidStatus, match="403"):
        await device.connect()
    await device.ready()
    server.fault(SOCKET_PATH, status=401, times=1)
    with pytest.raises(InvalidStatus, match="401"):
        await device.connect()
    server.fault(SOCKET_PATH, close_code=1008, times=1)
    async with device.connect() as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
    server.greeting = None
    async with device.connect():
        assert (await server.connected(SERIAL)).connections == 1


async def test_a_deaf_socket_answers_no_ping(server: SignageServer, device: StandIn) -> None:
    """The connection looks alive and is not."""
    await device.ready()
    server.fault(SOCKET_PATH, deaf=True)
    async with device.connect() as socket:
        pong = await socket.ping()
        assert not (await asyncio.wait([asyncio.ensure_future(pong)], timeout=0.2))[0]
        server.drop(SERIAL)


async def test_connections_end_in_every_way(server: SignageServer, device: StandIn) -> None:
    """Closed with a code, reset, gone with the server, and back on the same port with what it knew."""
    await device.ready()
    known = server.device(SERIAL)
    for end in ("close", "drop", "restart", "away"):
        async with device.connect() as socket:
            await server.connected(SERIAL)
            if end == "close":
                await server.close(SERIAL, 1012)
            elif end == "drop":
                server.drop(SERIAL)
            elif end == "restart":
                await server.restart()
            else:
                server.hub.away = True
            await socket.wait_closed()
            assert (socket.close_code == 1012) is (end == "close")
    with pytest.raises(aiohttp.ClientConnectionError):
        await device.playlists()
    server.hub.away = False
    assert (await device.playlists())[0] == 200
    assert known.connections == 4


# examples, demo, command


def test_the_examples_of_the_source_document() -> None:
    """Eleven actions and the device's messages, each a file of its own."""
    actions = {json.loads(path.read_text())["action"] for path in (EXAMPLES / "server").glob("*.json")}
    assert len(actions) == 11
    said = [json.loads(path.read_text()) for path in sorted((EXAMPLES / "device").glob("*.json"))]
    assert {message["type"] for message in said} == {"ready_playlists", "playlist_status"}
    assert {message.get("status") for message in said} == {None, "ready", "downloading", "partial", "failed"}


async def test_the_demo_playlists(server: SignageServer, device: StandIn) -> None:
    """Lobby, Sale and an upright one, every file of them to be had, under 6 MB in all; made once."""
    made = await asyncio.to_thread(make_media, CHECKOUT / ".demo" / "media")
    times = [path.stat().st_mtime_ns for path in made]
    assert [path.stat().st_mtime_ns for path in await asyncio.to_thread(make_media, made[0].parent)] == times
    furnish(server, made[0].parent)
    await device.ready()
    _, answer = await device.playlists()
    offered = answer["front_screen"]["playlists"]
    assert [one["id"] for one in offered] == [101, 102, 103]
    assert offered[2]["height"] > offered[2]["width"]
    sizes: dict[str, int] = {}
    for entry in (entry for one in offered for entry in one["media_items"]):
        status, body, headers = await device.get(entry["media_url"])
        assert (status, len(body), headers["Content-Type"]) == (200, entry["file_size"], entry["mimetype"])
        sizes[entry["media_url"]] = len(body)
    assert len(sizes) == 8
    assert sum(sizes.values()) < 6_000_000


async def test_a_directory_of_other_files(server: SignageServer, tmp_path: Path) -> None:
    """Files that are not the demo's make one playlist; what is no picture or film is left out."""
    for name in ("a.png", "b.mp4", "notes.txt", ".part-c.png"):
        (tmp_path / name).write_bytes(name.encode())
    furnish(server, tmp_path)
    front = server.screens_of(server.device("X"))["front_screen"]
    assert [[entry["media_name"] for entry in one["media_items"]] for one in front["playlists"]] == [["a.png", "b.mp4"]]


async def test_the_prompt(server: SignageServer, device: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    """What is typed reaches the devices as documented messages; mistakes are said."""
    await device.ready()
    server.greeting = None
    async with device.connect() as socket:
        await server.connected(SERIAL)
        expected: dict[str, Any] = {
            "pause": {"action": "pause"},
            "switch 102": {"action": "switch_playlist", "playlist_id": 102},
            "volume 60": {"action": "set_volume", "volume": 60},
            "keep 1 2": {"action": "cleanup_old_playlists", "playlistIdsToKeep": [1, 2]},
            'send {"action": "next"}': {"action": "next"},
        }
        for line, message in expected.items():
            await run_line(server, line)
            assert json.loads(await socket.recv()) == message
        for line in ("frobnicate", "switch x", "send [1]", "pause NOBODY"):
            with pytest.raises(ValueError, match=r"\w"):
                await run_line(server, line)
        await run_line(server, "fault '/media/*' bytes_per_s=50000")
        assert server.hub.faults.describe()[0]["what"] == {"bytes_per_s": 50000}
        await run_line(server, "devices")
    assert f"{SERIAL}: connected, volume 60" in capsys.readouterr().out


async def test_the_command(tmp_path: Path) -> None:
    """It says where the console is, serves it, and ends cleanly on SIGTERM; a taken port is one clear line."""
    (tmp_path / "a.png").write_bytes(b"png")
    command = [sys.executable, "-m", "tests.servers", "--media", str(tmp_path), "--port"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, "0", stdin=asyncio.subprocess.DEVNULL, stdout=pipe, cwd=CHECKOUT)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            url = (await process.stdout.readline()).decode().removeprefix("console: ").strip()
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            assert "Mock server" in await response.text()
        port = url.rstrip("/").rpartition(":")[2]
        second = await asyncio.create_subprocess_exec(*command, port, stderr=pipe, cwd=CHECKOUT)
        _, said = await second.communicate()
        assert second.returncode == 1
        assert said.startswith(b"mock-server: ")
        assert said.count(b"\n") == 1
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
