"""From the camera to the eye: real worker, real link, real Chromium (camera contract, sections 2 and 3)."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser
from tests.conftest import rounds
from tests.end_to_end_camera.studio import DEVICE_ID, FLAGS, HEIGHT, LOAD, WIDTH, Studio, Turn, Viewing, open_studio
from tests.links.camera.standins import StandInViewer
from tests.servers.camera import SIGNALS

pytest.importorskip("aiortc")
pytestmark = [
    pytest.mark.skipif(not Browser.installed(), reason="needs Chromium"),
    pytest.mark.asyncio(loop_scope="module"),
]

UNREACHABLE = "stun:192.0.2.1:3478"
DROPPING = """
import os, random, sys

if "agent.camera.worker" in sys.orig_argv:
    import aiortc.rtcdtlstransport

    send = aiortc.rtcdtlstransport.RTCDtlsTransport._send_rtp
    dice = random.Random(7)

    async def lossy(self, data):
        # Only media: what is asked for again by RTCP should have a chance to be asked for.
        if dice.random() >= float(os.environ["TEST_DROP"]) or data[1] & 0x7F in range(72, 80):
            await send(self, data)

    aiortc.rtcdtlstransport.RTCDtlsTransport._send_rtp = lossy
"""


SECTION = (
    "c=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdabcdabcdabcdabcdabcd\r\n"
    f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\na=setup:actpass\r\na=recvonly\r\na=rtcp-mux\r\n"
)
HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
BAD_OFFERS = {
    "empty": "",
    "nonsense": "not an offer",
    "the document's": "v=0\r\no=- 123456789 2 IN IP4 127.0.0.1\r\n...",
    "no section": HEAD,
    "no video": f"{HEAD}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{SECTION}a=rtpmap:111 opus/48000/2\r\n",
    "no codec in common": f"{HEAD}m=video 9 UDP/TLS/RTP/SAVPF 99\r\n{SECTION}a=rtpmap:99 AV1/90000\r\n",
}


def is_one_stream(numbers: list[int | None]) -> bool:
    """Whether frame numbers only ever rise."""
    read = [number for number in numbers if number is not None]
    return all(before < after for before, after in pairwise(read))


async def test_a_picture_within_a_second(studio: Studio) -> None:
    """Every frame counted, its number read back from the video element; a second viewer joins late."""
    first = await studio.viewer(record=True)
    await first.live()  # starts the worker, which is cold
    await asyncio.sleep(0.5)
    await first.numbers()
    await first.figures()
    begun = time.monotonic()
    await asyncio.sleep(2)
    numbers, figures, took_s = await first.numbers(), await first.figures(), time.monotonic() - begun
    assert (figures["width"], figures["height"], figures["codec"]) == (WIDTH, HEIGHT, "H264")
    assert figures["fps"] > 5
    assert len(numbers) / took_s > 5, "frames that the page presented"
    assert None not in numbers
    assert is_one_stream(numbers)
    assert numbers[-1] is not None
    assert numbers[0] is not None
    assert 10 < (numbers[-1] - numbers[0]) / took_s < 33, "the camera's own rate, on a machine that does other things, too"
    assert figures["latencyMs"] < 1000 * LOAD
    assert figures["loss"] == 0

    second = await studio.viewer(record=True)
    assert await second.live() < 1000 * LOAD, "a joiner sees a picture within a second"
    await second.moves()
    assert studio.proxy.viewers == 2
    assert is_one_stream(await first.numbers())


@pytest.mark.parametrize("order", list(permutations(SIGNALS)), ids=lambda order: "-".join(name.split("_")[1] for name in order))
async def test_signals_in_any_order(studio: Studio, order: tuple[str, ...]) -> None:
    """watch_request, offer and candidates in each of the six orders lead to a picture."""
    studio.server.order = order
    since = studio.server.hub.events[-1].number
    viewing = await studio.viewer()
    await viewing.live()
    sent = [event.title for event in studio.server.hub.events if event.number > since and event.title in SIGNALS]
    assert tuple(dict.fromkeys(sent)) == order


async def test_an_offer_with_everything_in_it(studio: Studio) -> None:
    """No trickle: all candidates within the offer, names in .local among them; the answer does not wait for those."""
    viewing = await studio.viewer(trickle=False)
    assert await viewing.live() < 1000 * LOAD


async def test_viewers_leave_and_join_in_turn(studio: Studio) -> None:
    """Each comes at once, the other one never freezes."""
    page = await studio.page()
    staying = await studio.viewer(page)
    await staying.live()
    for _ in range(rounds(30)):
        coming = await studio.viewer(page)
        assert await coming.live() < 1000 * LOAD
        await staying.do("stop()")
        await studio.until(lambda: studio.proxy.viewers == 1)
        await coming.moves()
        assert (await coming.figures())["freezes"] == 0
        staying = coming


async def test_one_encoder_for_all(studio: Studio) -> None:
    """Four viewers see the same frames of one shared encoder."""
    page = await studio.page()
    viewers = [await studio.viewer(page, record=True) for _ in range(4)]
    for viewing in viewers:
        await viewing.live()
    await asyncio.sleep(1)
    for viewing in viewers:
        await viewing.numbers()
    await asyncio.sleep(1)
    seen = [{number for number in await viewing.numbers() if number is not None} for viewing in viewers]
    assert all(len(numbers) > 2 for numbers in seen)
    assert max(max(numbers) for numbers in seen) - min(max(numbers) for numbers in seen) < 60
    assert "264" in studio.proxy.encoder
    assert studio.proxy.viewers == 4


async def test_a_viewer_without_h264(studio: Studio) -> None:
    """VP8 from an encoder of its own, beside one with H.264."""
    page = await studio.page()
    modern, old = await studio.viewer(page), await studio.viewer(page, codec="VP8", record=True)
    await modern.live()
    await old.live()
    await old.moves()
    assert ((await modern.figures())["codec"], (await old.figures())["codec"]) == ("H264", "VP8")
    assert is_one_stream(await old.numbers())


async def test_an_offer_with_sound(studio: Studio) -> None:
    """Audio and video are asked for: the video plays."""
    viewing = await studio.viewer(audio=True)
    await viewing.live()
    await viewing.moves()


async def test_a_second_offer(studio: Studio) -> None:
    """The same session negotiates again, then gets a fresh connection: the picture comes each time."""
    viewing = await studio.viewer()
    await viewing.live()
    await viewing.do("renegotiate()")
    await asyncio.sleep(0.5)
    await viewing.moves()
    await viewing.page.evaluate("viewers[0].firstFrameMs = null")
    await viewing.do("replace()")
    await viewing.page.wait("viewers[0].firstFrameMs !== null", 10)
    await viewing.moves()
    assert await viewing.get("state") == "live"
    assert studio.proxy.viewers == 1


async def test_an_unreachable_stun_server(studio: Studio) -> None:
    """It delays the answer by half a second at most."""
    warm = await studio.viewer()
    await warm.live()
    studio.server.ice_servers, studio.server.viewer_ice_servers = [{"urls": [UNREACHABLE]}], []
    viewing = await studio.viewer(warm.page)
    assert await viewing.live() < 1000 * LOAD


async def test_useless_ice_servers(studio: Studio) -> None:
    """What the library cannot take is left out; the picture comes."""
    studio.server.ice_servers = [
        {"urls": "stuns:127.0.0.1"},
        {"urls": "stun:127.0.0.1:9?transport=udp"},
        {"urls": ["stun:[::1]", "nonsense", "turn:", "turn:127.0.0.1:70000", "turn:127.0.0.1:9?transport=carrier-pigeon"]},
        {"urls": 5},
        {},
    ]
    studio.server.viewer_ice_servers = []
    viewing = await studio.viewer()
    assert await viewing.live() < 1000 * LOAD


async def test_the_server_restarts_during_a_stream(studio: Studio) -> None:
    """The picture goes on without a freeze, the link comes back, and the next watch works."""
    viewing = await studio.viewer(record=True)
    await viewing.live()
    await viewing.numbers()
    await studio.server.restart(after_s=0.5)
    await viewing.moves(30)
    numbers = await viewing.numbers()
    assert is_one_stream(numbers)
    assert (await viewing.figures())["freezes"] == 0
    assert not await viewing.get("signaling")
    await studio.server.connected(DEVICE_ID)
    another = await studio.viewer()
    await another.live()
    await viewing.moves()
    await viewing.do("stop()")  # without a socket nobody is told: the device finds out by itself, or from the closed transport


async def test_the_worker_is_killed_during_a_stream(studio: Studio) -> None:
    """Sessions end with a message; the next watch works."""
    page = await studio.page()
    viewers = [await studio.viewer(page) for _ in range(2)]
    for viewing in viewers:
        await viewing.live()
    since, connections = studio.served.mark(), studio.served.connections
    pid = studio.proxy.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for viewing in viewers:
        assert await viewing.ended() != ""
    refused = [error["payload"]["session_id"] for error in studio.served.said("error", since=since)]
    assert sorted(refused) == sorted([await viewing.get("sessionId") for viewing in viewers])
    assert studio.served.connections == connections
    following = await studio.viewer(page)
    await following.live()
    assert studio.proxy.pid != pid


async def test_offers_that_cannot_be_answered(studio: Studio) -> None:
    """`error` with the session and a message; the other viewer never notices."""
    other = await studio.viewer()
    await other.live()
    for name, sdp in BAD_OFFERS.items():
        since = studio.served.mark()
        async with StandInViewer(studio.server) as viewer:
            await viewer.watch(DEVICE_ID)
            await viewer.offer(sdp)
            error = await studio.served.wait_for("error", since=since)
            assert error["payload"]["session_id"] == viewer.session_id, name
            assert len(error["payload"]["message"]) > 5, name
            assert (await viewer.hear("error"))["payload"]["session_id"] == viewer.session_id
        assert studio.served.said("signal_answer", since=since) == [], name
    await other.moves()
    assert (await other.figures())["freezes"] == 0


async def test_candidates_of_every_kind(studio: Studio) -> None:
    """Nonsense, TCP, unresolvable names, without a place, after the end: the picture comes and stays."""
    viewing = await studio.viewer()
    await viewing.live()
    candidates: list[Any] = [
        {"candidate": "nonsense", "sdpMid": "0", "sdpMLineIndex": 0},
        {"candidate": "candidate:1 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active", "sdpMid": "0"},
        {
            "candidate": "candidate:1 1 udp 2113937151 0a1b2c3d-0000-4000-8000-000000000000.local 40000 typ host",
            "sdpMLineIndex": 0,
        },
        {"candidate": "candidate:1 1 udp 2113937151 192.0.2.8 40000 typ host"},
        {"candidate": "candidate:1 1 udp 1 192.0.2.8 40000 typ host", "sdpMid": "7", "sdpMLineIndex": 9},
        {"candidate": ""},
        None,
        {"candidate": "candidate:1 1 udp 2113937151 192.0.2.9 40000 typ host", "sdpMid": "0", "sdpMLineIndex": 0},
    ]
    session = await viewing.get("sessionId")
    for candidate in candidates:
        await studio.server.send(DEVICE_ID, "signal_ice", {"session_id": session, "candidate": candidate})
        await studio.server.send(DEVICE_ID, "signal_ice", {"session_id": "ended-long-ago", "candidate": candidate})
    await viewing.moves(30)
    assert studio.served.said("error", session_id=session) == []
    assert await viewing.get("state") == "live"


async def test_late_signals(studio: Studio) -> None:
    """A slow server only delays the picture; what comes for a session that has ended means nothing."""
    studio.server.relay_delay_s = 0.3
    viewing = await studio.viewer()
    await viewing.live()
    studio.server.relay_delay_s = 0.0
    session, since = await viewing.get("sessionId"), studio.served.mark()
    sdp = {"type": "offer", "sdp": await viewing.page.evaluate("viewers[0].peer.localDescription.sdp")}
    await viewing.do("stop()")
    await studio.until(lambda: studio.proxy.viewers == 0)
    for _ in range(2):
        await studio.server.send(DEVICE_ID, "signal_offer", {"session_id": session, "sdp": sdp})
        await studio.server.send(DEVICE_ID, "watch_ended", {"session_id": session, "reason": "timeout"})
    following = await studio.viewer(viewing.page)
    await following.live()
    assert studio.served.said("signal_answer", since=since, session_id=session) == []
    assert studio.served.said("error", since=since) == []


async def test_nothing_is_left_of_sessions(studio: Studio) -> None:
    """However many come and go, in the daemon's half there are no more tasks than before."""
    page = await studio.page()
    names = ("cam", "link", "proxy")
    tasks: list[Counter[str]] = []
    for _ in range(rounds(50)):
        viewing = await studio.viewer(page)
        await viewing.live()
        await viewing.do("stop()")
        await studio.until(lambda: len(studio.link._watches) == 0)
        tasks.append(Counter(task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(names)))
    assert tasks[0] == tasks[-1]


async def test_a_viewer_is_killed(studio: Studio) -> None:
    """Its browser dies; the server tells the device, which frees the session; the others go on."""
    staying = await studio.viewer()
    await staying.live()
    async with Browser(*FLAGS) as doomed:
        page = await studio.page(doomed)
        viewing = await studio.viewer(page)
        await viewing.live()
        await studio.until(lambda: studio.proxy.viewers == 2)
        os.killpg(doomed._process.pid, signal.SIGKILL)
        await studio.until(lambda: studio.proxy.viewers == 1)
    await staying.moves()


@pytest.mark.long
async def test_a_viewer_is_killed_and_nobody_says_so(browser: Browser) -> None:
    """Without signaling the device finds out by itself, within about half a minute."""
    async with open_studio(browser, linger_s=0.5) as studio, Browser(*FLAGS) as doomed:
        viewing = await studio.viewer(await studio.page(doomed))
        await viewing.live()
        await studio.server.stop()
        os.killpg(doomed._process.pid, signal.SIGKILL)
        await studio.until(lambda: studio.proxy.viewers == 0, 50)
        await studio.until(lambda: studio.proxy.pid is None, 10)


async def test_twenty_at_once(browser: Browser) -> None:
    """Twenty watch requests in the same moment: each gets a picture."""
    async with open_studio(browser, width=320, height=180, framerate=10, bitrate=300_000) as studio:
        page = await studio.page()
        await page.evaluate(f"for (let n = 0; n < 20; n += 1) watch({{device: '{DEVICE_ID}'}})")
        await page.wait("viewers.every((viewer) => viewer.state === 'live')", 30)
        assert studio.proxy.viewers == 20
        assert len(studio.served.said("signal_answer")) == 20
        await page.evaluate("viewers.forEach((viewer) => viewer.stop())")
        await studio.until(lambda: studio.proxy.viewers == 0)


async def test_a_camera_costs_nothing_while_nobody_watches(browser: Browser) -> None:
    """No worker before the first viewer, none a little after the last; presence says so, too."""
    async with open_studio(browser, linger_s=0.3) as studio:
        runs = [studio.proxy.pid]
        for _ in range(2):
            viewing = await studio.viewer()
            await viewing.live()
            runs.append(studio.proxy.pid)
            await viewing.do("stop()")
            await studio.until(lambda: studio.proxy.pid is None)
        assert runs[0] is None
        assert len(set(runs)) == 3
        assert not studio.proxy.recording


async def test_no_camera(browser: Browser) -> None:
    """The viewer is told in words; no worker is started."""
    async with open_studio(browser, source="none") as studio:
        viewing = await studio.viewer()
        assert "camera" in await viewing.ended()
        assert studio.proxy.pid is None


@pytest.mark.skipif(not Turn.installed(), reason="needs coturn")
@pytest.mark.parametrize("device", [False, True], ids=["viewer", "both"])
async def test_behind_turn_only(studio: Studio, device: bool) -> None:
    """A viewer that may only use its relay, with a device on the LAN or one that knows the relay, too."""
    async with Turn() as servers:
        studio.server.ice_servers = servers if device else []
        studio.server.viewer_ice_servers = servers
        viewing = await studio.viewer(configuration={"iceTransportPolicy": "relay"})
        assert await viewing.live() < 1000 * LOAD
        await viewing.moves()
        assert (await viewing.figures())["path"].startswith("relay")
        await viewing.do("stop()")


@pytest.mark.parametrize("share", [0.05])
async def test_packet_loss(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """One packet in twenty is lost: sent again on demand, the picture stays whole and in order."""
    (tmp_path / "sitecustomize.py").write_text(DROPPING)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("TEST_DROP", str(share))
    async with open_studio(browser) as studio:
        viewing = await studio.viewer(record=True)
        await viewing.live()
        await asyncio.sleep(0.5)
        await viewing.numbers()
        await viewing.figures()
        await asyncio.sleep(2)
        figures, numbers = await viewing.figures(), await viewing.numbers()
        assert figures["fps"] > 5
        assert is_one_stream(numbers)
        read = [number for number in numbers if number is not None]
        assert len(read) > 0.9 * len(numbers)
        dropped = await reports(viewing)
        assert dropped["nackCount"] > 0


async def reports(viewing: Viewing) -> dict[str, Any]:
    """The browser's own statistics of the picture."""
    script = f"""viewers[{viewing.place}].peer.getStats().then((all) =>
      [...all.values()].find((one) => one.type === "inbound-rtp" && one.kind === "video"))"""
    return dict(await viewing.page.evaluate(script))
