"""One watch session: orders of messages, offers of all kinds, and every way it can end."""

from __future__ import annotations

import asyncio
import re
import time
from itertools import pairwise

import pytest
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, pack_remb_fci

from agent.camera.messages import Answer, Closed, Refused
from agent.camera.session import SessionTimers
from tests.camera.conftest import OpenRoom
from tests.camera.viewer import candidates, without_candidates

SECTION = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
IMPATIENT = SessionTimers(offer_s=0.2, return_s=0.1, connect_s=0.4, candidates_end_s=0.1)


async def test_a_viewer_sees_the_camera(room: OpenRoom) -> None:
    """Pictures of the right size arrive, one frame number after the other, and the state says so."""
    watched = room()
    viewer = await watched.watch("one")
    await viewer.sees(4)
    assert viewer.sizes == {(320, 240)}
    assert all(before < after for before, after in pairwise(viewer.numbers))
    state = watched.state
    assert (state.viewers, state.sessions, state.source, state.encoder, state.bitrate) == (1, 1, "test", "libx264", 1_000_000)


async def test_the_answer_is_h264_constrained_baseline_in_a_named_stream(room: OpenRoom) -> None:
    """First comes 42e01f, the track has a stream with a name (else pages stay blank), and our candidates are in it."""
    watched = room()
    viewer = await watched.watch("one")
    answer = watched.of("one", Answer)[0].sdp
    payload = re.search(r"^m=video \d+ \S+ (\d+)", answer, re.MULTILINE)
    assert payload
    assert re.search(rf"^a=fmtp:{payload[1]} .*profile-level-id=42e01f", answer, re.MULTILINE)
    stream, track = re.findall(r"^a=msid:(\S+) (\S+)", answer, re.MULTILINE)[0]
    assert stream not in {"-", ""}
    assert track
    assert "a=sendonly" in answer
    assert candidates(answer)
    assert viewer.state == "connected"


async def test_a_viewer_without_h264_gets_vp8(room: OpenRoom) -> None:
    """From an encoder of its own, beside the others'."""
    watched = room()
    await watched.watch("one")
    viewer = await watched.watch("two", codec="VP8")
    await viewer.sees()
    assert watched.state.encoder == "libx264 + libvpx"


@pytest.mark.parametrize("audio", ["before", "after"])
async def test_audio_is_answered_and_video_plays(room: OpenRoom, audio: str) -> None:
    """The audio section is inactive, whichever comes first; a data channel does no harm either."""
    watched = room()
    viewer = await watched.watch("one", audio=audio, data=True)
    sections = re.split(r"(?m)^(?=m=)", watched.of("one", Answer)[0].sdp)[1:]
    directions = {re.match(r"m=(\w+)", section)[1]: "a=inactive" in section for section in sections}  # type: ignore[index]
    assert directions["audio"]
    assert not directions["video"]
    assert viewer.state == "connected"


@pytest.mark.parametrize(("mid", "index"), [("0", None), (None, 0), ("0", 0), (None, None), ("9", 7)])
async def test_trickled_candidates_before_and_after_the_offer(room: OpenRoom, mid: str | None, index: int | None) -> None:
    """Those that come before the offer are kept, and half an address is enough."""
    watched = room()
    viewer = watched.viewer(audio="before")
    sdp = await viewer.offer()
    first, *others = candidates(sdp)
    watched.open("one")
    watched.candidate("one", first, mid, index)
    watched.offer("one", without_candidates(sdp))
    for other in others:
        watched.candidate("one", other, mid, index)
    watched.candidate("one", "")
    await viewer.accept((await watched.hears("one", Answer)).sdp)
    await viewer.sees()


async def test_candidates_of_all_kinds_are_tolerated(room: OpenRoom) -> None:
    """Nonsense, TCP, names, foreign components and floods end no session; a `.local` name delays nothing."""
    watched = room()
    viewer = watched.viewer()
    watched.open("one")
    junk = [
        "what?",
        "candidate:",
        "candidate:1 1 tcp 2105458943 192.0.2.1 9 typ host tcptype active",
        "candidate:1 1 udp x 192.0.2.1 1 typ host",
        "candidate:1 2 udp 1 192.0.2.1 1 typ host",
        "candidate:1 1 udp 1 not.a.name.example 1 typ host",
        "candidate:1 1 udp 2113937151 8a0b1c2d-0000-4000-8000-123456789abc.local 50000 typ host",
        "candidate:1 1 udp 1 192.0.2.1 99999 typ host",
        "\x00" * 100,
        *(f"candidate:1 1 udp 1 192.0.2.1 {port} typ host" for port in range(1, 300)),
    ]
    sdp = await viewer.offer()
    for text in junk:
        watched.candidate("one", text, "0", None)
    local = "a=candidate:2 1 udp 2113937151 8a0b1c2d-0000-4000-8000-123456789abd.local 50001 typ host\r\n"
    began = time.monotonic()
    watched.offer("one", sdp + local + "a=end-of-candidates\r\n")
    await viewer.accept((await watched.hears("one", Answer)).sdp)
    assert time.monotonic() - began < 0.5
    for text in junk:
        watched.candidate("one", text, None, 0)
    await viewer.sees()


@pytest.mark.parametrize(
    ("sdp", "words"),
    [
        ("", "no video section"),
        ("nonsense", "no SDP that can be read|no video section"),
        ("v=0\r\nm=video what?\r\n", "no SDP that can be read"),
        ("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", "no video section"),
        (SECTION * 9, "more than 8 sections"),
        (SECTION + "a=x:" + "x" * 65_536, "longer than 65536"),
    ],
)
async def test_a_bad_offer_is_refused(room: OpenRoom, sdp: str, words: str) -> None:
    """With a message; nothing else comes of the session, and the others go on."""
    watched = room()
    good = await watched.watch("good")
    watched.open("bad")
    watched.offer("bad", sdp)
    refused = await watched.hears("bad", Refused)
    assert re.search(words, refused.message)
    watched.offer("bad", sdp)
    watched.candidate("bad", "candidate:1 1 udp 1 192.0.2.1 1 typ host")
    await good.sees()
    assert len(watched.of("bad", Refused)) == 1
    await watched.until(lambda: watched.state.sessions == 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sdp: re.sub(r"(H264|VP8)/90000", "AV9/90000", sdp), "neither H.264 nor VP8"),
        (lambda sdp: sdp.replace("a=recvonly", "a=sendonly"), "does not want to receive"),
        (lambda sdp: re.sub(r"a=ice-(ufrag|pwd):.*\r\n", "", sdp), "cannot be answered"),
        (lambda sdp: sdp.replace("a=rtcp-mux\r\n", ""), "cannot be answered"),
    ],
)
async def test_an_offer_without_what_is_needed_is_refused(room: OpenRoom, change: object, words: str) -> None:
    """No codec in common, nobody to receive, no ICE, no multiplexing: the message says which."""
    watched = room()
    watched.open("one")
    watched.offer("one", change(await watched.viewer().offer()))  # type: ignore[operator]
    assert words in (await watched.hears("one", Refused)).message


async def test_only_audio_is_refused(room: OpenRoom) -> None:
    """There is nothing to listen to."""
    watched = room()
    watched.open("one")
    watched.offer("one", await watched.viewer(audio="before", direction="").offer())
    assert "no video section" in (await watched.hears("one", Refused)).message


async def test_a_second_offer_of_a_new_connection_replaces_the_first(room: OpenRoom) -> None:
    """A viewer that starts again on the same session sees the camera again, and counts once."""
    watched = room()
    await watched.watch("one")
    second = watched.viewer()
    watched.offer("one", await second.offer())
    await second.accept((await watched.hears("one", Answer, 2)).sdp)
    await second.sees(4)
    await watched.until(lambda: watched.state.viewers == 1)
    assert len(watched.studio._leases) == 1
    assert not watched.ended("one")


async def test_a_second_offer_of_the_same_connection_goes_on(room: OpenRoom) -> None:
    """A viewer that negotiates again, here to hear as well, keeps its connection and its picture."""
    watched = room()
    viewer = await watched.watch("one")
    viewer.connection.addTransceiver("audio", "recvonly")
    watched.offer("one", await viewer.offer())
    await viewer.accept((await watched.hears("one", Answer, 2)).sdp)
    await viewer.sees(4)
    assert viewer.state == "connected"
    assert watched.state.viewers == 1


async def test_the_same_session_again_replaces_the_old_one(room: OpenRoom) -> None:
    """Its connection is closed without a word, and the new one is served."""
    watched = room()
    first = await watched.watch("one")
    second = watched.viewer()
    watched.open("one")
    watched.offer("one", await second.offer())
    await second.accept((await watched.hears("one", Answer, 2)).sdp)
    await second.sees()
    await first.until(lambda: first.state == "closed")
    assert not watched.ended("one")
    assert watched.state.sessions == 1


async def test_a_closed_session_ends_without_a_word(room: OpenRoom) -> None:
    """The viewer's connection closes at once; closing again, or what is unknown, does no harm; late messages are ignored."""
    watched = room()
    viewer = await watched.watch("one")
    for key in ("one", "one", "unknown"):
        watched.close(key)
    watched.offer("one", "late")
    watched.candidate("one", "late")
    await viewer.until(lambda: viewer.state == "closed", 5.0)
    assert (watched.state.viewers, watched.state.sessions) == (0, 0)
    assert not watched.ended("one")


async def test_a_viewer_that_leaves_is_noticed(room: OpenRoom) -> None:
    """A page that is closed says goodbye to the connection, if to nobody else."""
    watched = room()
    viewer = await watched.watch("one")
    await viewer.close()
    assert "gone" in (await watched.hears("one", Closed)).reason
    await watched.until(lambda: watched.state.sessions == 0)


async def test_a_viewer_that_comes_back_in_the_same_session(room: OpenRoom) -> None:
    """It closed its connection and offers another one: its goodbye does not end the session it goes on with."""
    watched = room(timers=SessionTimers())
    first = await watched.watch("one")
    await first.close()
    await watched.until(lambda: watched.state.viewers == 0)
    second = watched.viewer()
    watched.offer("one", await second.offer())
    await second.accept((await watched.hears("one", Answer, 2)).sdp)
    await second.sees()
    assert not watched.ended("one")


async def test_a_viewer_that_vanishes_is_noticed(room: OpenRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed without a word: the connection's own checks find out."""
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr("aioice.ice.CONSENT_FAILURES", 2)
    watched = room()
    viewer = await watched.watch("one")
    for protocol in viewer.connection.getTransceivers()[0].receiver.transport.transport._connection._protocols:
        protocol.transport.abort()
    assert "gone" in (await watched.hears("one", Closed)).reason
    await watched.until(lambda: watched.state.viewers == 0)


async def test_a_session_without_an_offer_is_freed(room: OpenRoom) -> None:
    """The camera stays closed meanwhile."""
    watched = room(timers=IMPATIENT)
    watched.open("one")
    assert "no offer" in (await watched.hears("one", Closed)).reason
    assert watched.studio._capture is None
    await watched.until(lambda: watched.state.sessions == 0)


async def test_a_viewer_that_never_connects_is_freed(room: OpenRoom) -> None:
    """It took the answer and was not heard of again; the camera closes."""
    watched = room(timers=IMPATIENT)
    watched.open("one")
    watched.offer("one", without_candidates(await watched.viewer().offer()))
    await watched.hears("one", Answer)
    assert "within 0.4 s" in (await watched.hears("one", Refused)).message
    await watched.until(lambda: watched.studio._capture is None)


async def test_a_connection_that_cannot_come_about_is_given_up(room: OpenRoom) -> None:
    """The viewer has no candidates and says so: no need to wait for the full time."""
    watched = room(timers=SessionTimers(candidates_end_s=0.1))
    watched.open("one")
    watched.offer("one", without_candidates(await watched.viewer().offer()))
    watched.candidate("one", "")
    assert "no connection" in (await watched.hears("one", Refused, deadline_s=10)).message


async def test_the_end_of_candidates_does_not_come_too_early(room: OpenRoom) -> None:
    """A viewer that hides its addresses shows them with its first check, after our answer."""
    watched = room()
    viewer = watched.viewer()
    watched.open("one")
    watched.offer("one", without_candidates(await viewer.offer()))
    watched.candidate("one", "")
    await viewer.accept((await watched.hears("one", Answer)).sdp)
    await viewer.sees()


async def test_a_keyframe_for_a_viewer_that_lost_the_picture(room: OpenRoom) -> None:
    """A PLI reaches the encoder: this is how aiortc's private parts are used."""
    watched = room()
    viewer = await watched.watch("one")
    keyframes = watched.studio.hub("H264").keyframes
    before = keyframes._last
    await asyncio.sleep(1.1)
    receiver = viewer.connection.getTransceivers()[0].receiver
    source = next(iter(receiver.getSynchronizationSources())).source
    await receiver._send_rtcp_pli(source)
    await watched.until(lambda: keyframes._last > before + 1.0, 3.0)


async def test_what_a_viewer_reports_reaches_the_bitrate(room: OpenRoom) -> None:
    """REMB and loss are heard, from aiortc's private parts as well; reports about somebody else are not."""
    watched = room()
    viewer = await watched.watch("one")
    [known] = watched.studio.rate._viewers.values()
    receiver = viewer.connection.getTransceivers()[0].receiver
    source = next(iter(receiver.getSynchronizationSources())).source
    for bps, ssrc in ((400_000, source), (100_000, source + 1)):
        report = RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=pack_remb_fci(bps, [ssrc]))
        await receiver.transport._send_rtp(bytes(report))
    await watched.until(lambda: known.estimate_bps > 0 and known.lost_at > 0, 10.0)
    assert 390_000 < known.estimate_bps <= 400_000
