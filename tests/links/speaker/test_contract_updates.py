"""Updates through the wire: the three forms, refusals, faults of servers and networks (speaker contract, section 3)."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from typing import Any

import pytest

from agent.update.intake import UpdateError
from tests.box import until
from tests.conftest import rounds
from tests.links.speaker.conftest import MakeLink
from tests.links.speaker.standins import DEVICE_ID, StandInBox
from tests.links.speaker.test_firmware import frames_of, mutate
from tests.links.speaker.updates import StandInReport, make_bundle
from tests.servers.speaker import SpeakerServer
from tests.servers.speaker_devices import Speaker
from tests.servers.speaker_firmware import Ota, Sending

IMAGE = make_bundle(2048 * 30 + 77)
FORMS = pytest.mark.parametrize("form", [1, 2, 3])
ENDED_FORMS = pytest.mark.parametrize("form", [2, 3])


@pytest.fixture(autouse=True)
def _timers(server: SpeakerServer) -> None:
    """A server waits as long as it should; with nothing to wait for, that costs no time."""
    server.chunk_answer_s = 5.0


async def update(
    server: SpeakerServer, form: Any, image: bytes = IMAGE, version: str = "2.0.0", **how: Any
) -> tuple[Ota, dict[str, Any]]:
    """Sends it, and how it ended: the second answer."""
    speaker = await server.connected(DEVICE_ID)
    since = speaker.mark()
    ota = await server.offer_firmware(DEVICE_ID, image, form, version, how=Sending(**how))
    _, end = await speaker.wait_answers(2, since=since)
    return ota, end


async def hears(server: SpeakerServer, box: StandInBox) -> None:
    """Audio works."""
    before = len(box.voice.heard)
    await server.send_raw(DEVICE_ID, "SPEAKING")
    await server.send_raw(DEVICE_ID, b"voice")
    await server.send_raw(DEVICE_ID, "DONE")
    await until(lambda: box.voice.heard[before:] == [b"voice"])


def objects(speaker: Speaker, since: int = 0) -> list[Any]:
    """What came, without acknowledgements."""
    return [one.data for one in speaker.messages[since:] if "ota_ack" not in one.data and "ota_nack" not in one.data]


# What works


@FORMS
@pytest.mark.parametrize("waits", [False, True])
async def test_an_update(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any, waits: bool) -> None:
    """Frames that come in the same instant as the request, or after its answer: all arrive, and the agent restarts."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        ota = await server.offer_firmware(DEVICE_ID, IMAGE, form, "2.0.0", how=Sending(waits=waits))
        await until(lambda: box.updates.restarts)
        assert box.updates.installed == [IMAGE]
        assert box.updates.left == []
        digest = hashlib.sha256(IMAGE).hexdigest()
        welcome: list[dict[str, Any]] = [{"status": "ok", "device_id": DEVICE_ID, "version": "2.0.0"}]
        if form == 1:
            welcome.append({"action": "update_firmware", "version": "2.0.0"})
        else:
            message = {"message": "Ready to receive firmware", "size": len(IMAGE), "sha256": digest}
            welcome = [{"status": "ok", **message, "version": "2.0.0", "device_id": DEVICE_ID}]
        done = {"status": "ok", "message": "Update installed, restarting into it", "version": "2.0.0", "device_id": DEVICE_ID}
        await server.wait_for(lambda: len(objects(speaker)) == len(welcome) + 2)
        assert objects(speaker)[1:] == [*welcome, done]
        assert [list(one) for one in objects(speaker)[1:]] == [list(one) for one in (*welcome, done)]
        assert ota.acks == (list(range(31)) if form == 3 else [])
        assert ota.nacks == []
        assert ota.silences == 0
        assert box.updates.begun == [("ptalk", None if form == 1 else len(IMAGE), None if form == 1 else digest)]


@ENDED_FORMS
async def test_a_digest_in_capitals(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any) -> None:
    """Is the same digest; a missing version is left out."""
    async with make_link():
        _, end = await update(server, form, version="", keys={"sha256": hashlib.sha256(IMAGE).hexdigest().upper()})
        assert end["status"] == "ok"
        assert "version" not in server.speakers[DEVICE_ID].answers()[0]


@FORMS
async def test_a_slow_disk(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any) -> None:
    """The server is held up; nothing piles up in memory, nothing is lost, and no pong that is late ends the connection."""
    box.updates.disk_s = 0.05
    async with make_link(ping_s=0.1, pong_s=0.5):
        _, end = await update(server, form)
        assert end["status"] == "ok"
        assert box.updates.installed == [IMAGE]
        assert max(box.updates.pieces) <= 2048
        assert server.speakers[DEVICE_ID].connections == 1


async def test_memory_is_that_of_a_few_frames(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """While the disk stands still, the server soon stands still, too."""
    image = make_bundle(40_000_000)
    box.updates.disk_s = 1.0
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        sending = asyncio.create_task(server.offer_firmware(DEVICE_ID, image, 2, how=Sending(chunk_bytes=65536)))
        await until(lambda: box.updates.pieces)
        await asyncio.sleep(0.5)
        assert speaker.ota is not None
        assert speaker.ota.sent_bytes < 20_000_000, "what the kernel holds for both, and a few frames"
        box.updates.disk_s = 0.0
        await sending
        await until(lambda: box.updates.restarts)
        assert box.updates.installed == [image]


@FORMS
async def test_a_slow_network(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any) -> None:
    """Pongs that come long after their time, behind the image, are no reason to give up; a dead server is still noticed."""
    async with make_link(ping_s=0.1, pong_s=0.6):
        speaker = await server.connected(DEVICE_ID)
        speaker.peers[0].holds_pongs = True
        slowly = dict.fromkeys(range(0, 31, 2), 0.1)
        _, end = await update(server, form, stall_s=slowly)
        assert end["status"] == "ok"
        assert speaker.connections == 1
        await server.wait_for(lambda: speaker.connections == 2)


@ENDED_FORMS
async def test_commands_between_chunks(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any) -> None:
    """Are answered; announcements are not heeded, since their frames would be the image's."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        hold = {5: asyncio.Event(), 20: asyncio.Event()}
        sending = asyncio.create_task(server.offer_firmware(DEVICE_ID, IMAGE, form, how=Sending(hold=hold)))
        for seq, go in hold.items():
            await until(lambda n=seq: len(box.updates.pieces) == n and speaker.answers())  # type: ignore[misc]
            await server.send_raw(DEVICE_ID, "SPEAKING")
            since = len(objects(speaker))
            assert (await server.ask(DEVICE_ID, "set_volume", volume=seq))["volume"] == seq
            assert len(objects(speaker)) == since + 1
            go.set()
        await sending
        await until(lambda: box.updates.installed == [IMAGE])
        assert box.voice.calls == []


@FORMS
async def test_while_it_is_installed(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any) -> None:
    """Which takes minutes: commands are answered, audio is heard, a further request gets device_busy and is swallowed."""
    box.updates.go.clear()
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        since = speaker.mark()
        await server.offer_firmware(DEVICE_ID, IMAGE, form)
        await speaker.wait_answers(1, since=since)
        await until(lambda: box.updates._installs)
        await server.send_raw(DEVICE_ID, "OTA_COMPLETE")
        assert (await server.ask(DEVICE_ID, "set_volume", volume=9))["volume"] == 9
        await hears(server, box)
        for again in (1, 2, 3):
            since = speaker.mark()
            ota = await server.offer_firmware(DEVICE_ID, IMAGE, again)
            [busy] = await speaker.wait_answers(1, since=since)
            assert list(busy) == ["status", "message", "device_id"]
            assert busy["status"] == "device_busy"
            assert len(ota.nacks) == (93 if again == 3 else 0)
            assert ota.silences == len(ota.acks) == 0
        assert (await server.ask(DEVICE_ID, "request_status"))["status"] == "ok"
        since = speaker.mark()
        box.updates.go.set()
        [done] = await speaker.wait_answers(1, since=since)
        assert (done["status"], done["version"]) == ("ok", "2.0.0")
        await until(lambda: box.updates.restarts == 1)
        assert len(box.updates.begun) == 1


@ENDED_FORMS
async def test_a_second_request_during_one(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any) -> None:
    """`device_busy`; the first one goes on undisturbed."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        go = asyncio.Event()
        sending = asyncio.create_task(server.offer_firmware(DEVICE_ID, IMAGE, form, how=Sending(hold={5: go})))
        await until(lambda: len(box.updates.pieces) == 5)
        seconds: list[dict[str, Any]] = [{}, {"size": 5, "sha256": "00" * 32}, {"size": 0, "chunk_size": 1}, {"size": 5}]
        for keys in (*seconds, {"size": 5, "sha256": "x"}):
            await server.send(DEVICE_ID, {"cmd": "request_ota", **keys})
        go.set()
        await sending
        answers = await speaker.wait_answers(7)
        assert [answer["status"] for answer in answers] == ["ok", *["device_busy"] * 5, "ok"]
        assert box.updates.installed == [IMAGE]


async def test_a_second_request_while_the_first_is_fetched(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """`device_busy`, also before it is known what will be fetched."""
    box.updates.published = {"2.0.0": IMAGE}
    box.updates.found.clear()
    async with make_link(ota_quiet_s=0.05):
        speaker = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, {"cmd": "request_ota", "version": "2.0.0"})
        await speaker.wait_answers(1)
        await until(lambda: box.updates.looked_for)
        await server.send(DEVICE_ID, {"cmd": "request_ota", "size": len(IMAGE), "sha256": "00" * 32})
        assert (await speaker.wait_answers(2))[1]["status"] == "device_busy"
        box.updates.found.set()
        await until(lambda: box.updates.restarts)
        assert box.updates.installed == [IMAGE]


async def test_two_links(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """While one updates, the other answers device_busy; afterwards it is its turn."""
    async with SpeakerServer() as second, make_link(), make_link(url=second.url, name="other"):
        speaker, other = await server.connected(DEVICE_ID), await second.connected(DEVICE_ID)
        await server.send(DEVICE_ID, {"cmd": "request_ota", "size": len(IMAGE), "sha256": "00" * 32})
        await speaker.wait_answers(1)
        for form in (1, 2, 3):
            since = other.mark()
            ota = await second.offer_firmware(DEVICE_ID, IMAGE, form)
            [busy] = await other.wait_answers(1, since=since)
            assert busy["status"] == "device_busy"
            assert ota.silences == 0
            assert not ota.asked
        await server.send_raw(DEVICE_ID, "OTA_COMPLETE")
        await speaker.wait_answers(2)
        assert (await update(second, 2))[1]["status"] == "ok"


# Form 1


async def test_form_1_is_fetched_when_nothing_comes(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """That version, or the newest."""
    box.updates.published = {"1.9.0": make_bundle(3000), "2.0.0": IMAGE}
    async with make_link(ota_quiet_s=0.2):
        speaker = await server.connected(DEVICE_ID)
        for version, wanted in (("1.9.0", make_bundle(3000)), (None, IMAGE)):
            since = speaker.mark()
            await server.send(DEVICE_ID, {"cmd": "request_ota", **({"version": version} if version else {})})
            welcome, done = await speaker.wait_answers(2, since=since)
            assert welcome == {"status": "ok", "device_id": DEVICE_ID, **({"version": version} if version else {})}
            assert done["status"] == "ok"
            assert box.updates.installed[-1] == wanted
            asked = {"action": "update_firmware", **({"version": version} if version else {})}
            assert [one for one in objects(speaker, since) if "action" in one] == [asked]
        assert box.updates.left == []


async def test_form_1_that_cannot_be_fetched(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """`error`, with what is needed; commands that come in the meantime do not matter."""
    async with make_link(ota_quiet_s=0.3):
        speaker = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, {"cmd": "request_ota"})
        await server.send(DEVICE_ID, {"cmd": "request_status"})
        await server.send_raw(DEVICE_ID, "OTA_COMPLETE")
        *_, end = await speaker.wait_answers(3)
        assert end["status"] == "error"
        assert "source_url" in end["message"]
        assert box.updates.left == []
        await hears(server, box)


@pytest.mark.parametrize("end", ["silence", "text"])
async def test_form_1_of_something_else(server: SpeakerServer, box: StandInBox, make_link: MakeLink, end: str) -> None:
    """Swallowed, never heard, until text or silence; then `error`, and nothing is fetched."""
    box.updates.published = {"2.0.0": IMAGE}
    async with make_link(ota_quiet_s=1.0 if end == "silence" else 30.0):
        speaker = await server.connected(DEVICE_ID)
        await server.send_raw(DEVICE_ID, "SPEAKING")
        await server.offer_firmware(DEVICE_ID, bytes(range(256)) * 80, 1)
        if end == "text":
            await server.send_raw(DEVICE_ID, "OTA_COMPLETE")
        _, refusal = await speaker.wait_answers(2)
        assert refusal["status"] == "error"
        assert "no update bundle" in refusal["message"]
        assert box.voice.heard == [b""]
        await hears(server, box)
        assert box.updates.installed == []


async def test_form_1_and_an_announcement(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """Which comes instead of an image: it is heard, and the update is fetched."""
    box.updates.published = {"2.0.0": IMAGE}
    async with make_link(ota_quiet_s=0.3):
        speaker = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, {"cmd": "request_ota"})
        await hears(server, box)
        await speaker.wait_answers(2)
        assert box.updates.installed == [IMAGE]


# Form 3


@pytest.mark.parametrize(
    ("how", "heard"),
    [
        ({"lost_answers": {0, 7, 30}}, ([], 3)),
        ({"corrupt": {0: 1, 7: 2, 30: 1}}, ([0, 7, 7, 30], 0)),
        ({"corrupt": {7: 1}, "lost_answers": {7}}, ([], 1)),
    ],
)
async def test_form_3_bears(
    server: SpeakerServer, box: StandInBox, make_link: MakeLink, how: dict[str, Any], heard: tuple[list[int], int]
) -> None:
    """Acknowledgements that are lost (chunks come twice, and are written once) and chunks that were damaged."""
    server.chunk_answer_s = 0.1
    async with make_link():
        ota, end = await update(server, 3, **how)
        assert end["status"] == "ok"
        assert box.updates.installed == [IMAGE]
        assert (ota.nacks, ota.silences) == heard


@pytest.mark.parametrize("how", [{"corrupt": {7: 3}}, {"skip": {7}}, {"skip": {30}}, {"skip": {0}}])
async def test_form_3_with_a_gap(server: SpeakerServer, box: StandInBox, make_link: MakeLink, how: dict[str, Any]) -> None:
    """After three failures the server goes on and says OTA_COMPLETE: `error`, the partial file is gone, the next one succeeds."""
    async with make_link():
        ota, end = await update(server, 3, **how)
        assert end["status"] == "error"
        assert "incomplete" in end["message"]
        assert ota.silences == 0
        at = next(iter(how.get("corrupt") or how["skip"]))
        first = at if "corrupt" in how else at + 1
        assert ota.nacks == [seq for seq in range(first, 31) for _ in range(3)]
        assert box.updates.left == []
        await hears(server, box)
        assert (await update(server, 3))[1]["status"] == "ok"


# What is refused


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("size", [0, -5, "61517", None, 1.5, True, 10**18, [1]])
async def test_bad_sizes(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any, size: Any) -> None:
    """`error`; the frames are swallowed, chunks nacked at once, OTA_COMPLETE is not answered; audio and the next update work."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        begun = time.monotonic()
        ota = await server.offer_firmware(DEVICE_ID, IMAGE, form, how=Sending(keys={"size": size}))
        assert time.monotonic() - begun < 4, "no chunk waited for"
        await hears(server, box)
        [refusal] = await speaker.wait_answers(1)
        assert list(refusal) == ["status", "message", "device_id"]
        assert refusal["status"] == "error"
        assert ota.silences == len(ota.acks) == 0
        assert ota.nacks == ([seq for seq in range(31) for _ in range(3)] if form == 3 else [])
        assert box.voice.heard == [b"voice"]
        assert (await update(server, form))[1]["status"] == "ok"
        assert len(speaker.answers()) == 3


@ENDED_FORMS
@pytest.mark.parametrize("digest", [None, "", "12ab", 5])
async def test_a_missing_digest(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any, digest: Any) -> None:
    """Is refused, unless it is configured that it may be missing; one that can never agree is refused in any case."""
    for required in (True, False):
        async with make_link(require_sha256=required):
            speaker = await server.connected(DEVICE_ID)
            since = speaker.mark()
            await server.offer_firmware(DEVICE_ID, IMAGE, form, how=Sending(keys={"sha256": digest}))
            await server.send(DEVICE_ID, {"cmd": "request_status"})
            answers = await speaker.wait_answers(2, since=since)
            if required or digest:
                assert answers[0]["status"] == "error"
                assert "sha256" in answers[0]["message"]
                assert not box.updates.begun
            else:
                assert "sha256" not in answers[0]
                await until(lambda: box.updates.restarts)
                assert box.updates.installed == [IMAGE]
        await server.wait_for(lambda one=speaker: not one.live)  # type: ignore[misc]


@pytest.mark.parametrize(
    "case",
    [
        (IMAGE, {"sha256": "00" * 32}),
        (IMAGE, {"size": len(IMAGE) + 1}),
        (IMAGE, {"size": len(IMAGE) - 1}),
        (make_bundle(5000, sealed=False), {}),
        (bytes(5000), {}),
        (b"x", {}),
    ],
    ids=["digest", "too short", "too long", "signature", "no bundle", "tiny"],
)  # fmt: skip
@ENDED_FORMS
async def test_what_is_no_good(
    server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any, case: tuple[bytes, dict[str, Any]]
) -> None:
    """`error` with the cause, once; nothing is left, nothing restarts, and the next update succeeds."""
    image, keys = case
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        ota = await server.offer_firmware(DEVICE_ID, image, form, how=Sending(keys=keys))
        await server.wait_for(lambda: speaker.answers() and speaker.answers()[-1]["status"] == "error")
        await hears(server, box)
        assert ota.silences == 0
        assert [answer["status"] for answer in speaker.answers()] == (["error"] if len(image) < 16 else ["ok", "error"])
        assert speaker.answers()[-1]["message"]
        assert (box.updates.left, box.updates.installed, box.updates.restarts) == ([], [], 0)
        assert (await update(server, form))[1]["status"] == "ok"
        assert (box.updates.installed, box.updates.restarts) == ([IMAGE], 1)


async def test_form_1_without_a_good_signature(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """The same."""
    async with make_link():
        _, end = await update(server, 1, make_bundle(5000, sealed=False))
        assert (end["status"], box.updates.left, box.updates.restarts) == ("error", [], 0)
        assert (await update(server, 1))[1]["status"] == "ok"


@FORMS
async def test_a_device_that_takes_none(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any) -> None:
    """For instance because no key is trusted: said in its words, the frames are nobody's."""
    box.updates.refuses = "no key is trusted: set [update] trusted_keys"
    async with make_link(ota_quiet_s=0.2):
        speaker = await server.connected(DEVICE_ID)
        ota = await server.offer_firmware(DEVICE_ID, IMAGE, form)
        await server.wait_for(speaker.answers)
        assert speaker.answers() == [{"status": "error", "message": box.updates.refuses, "device_id": DEVICE_ID}]
        assert not ota.asked
        await asyncio.sleep(0.3)
        await hears(server, box)
        assert len(speaker.answers()) == 1


async def test_a_disk_that_becomes_full(server: SpeakerServer, box: StandInBox, make_link: MakeLink, monkeypatch: Any) -> None:
    """In the midst of an image: told at its end, chunks nacked until then."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        go = asyncio.Event()
        sending = asyncio.create_task(server.offer_firmware(DEVICE_ID, IMAGE, 3, how=Sending(hold={9: go})))
        await server.wait_for(lambda: speaker.ota is not None and len(speaker.ota.acks) == 9)
        intake = box.updates._intake
        assert intake is not None

        async def full(_: object) -> None:
            await intake.abandon()
            raise UpdateError("the disk is full: the update could not be stored")

        intake.write = full  # type: ignore[method-assign,assignment]
        go.set()
        ota = await sending
        assert ota.nacks == [seq for seq in range(9, 31) for _ in range(3)]
        _, end = await speaker.wait_answers(2)
        assert (end["status"], "disk is full" in end["message"]) == ("error", True)
        assert (await update(server, 3))[1]["status"] == "ok"


async def test_faults_of_ours(
    server: SpeakerServer, box: StandInBox, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    """Are answers, too; the link goes on."""
    begin, install = box.updates.begin, box.updates.install
    box.updates.begin = lambda *_, **__: 1 / 0  # type: ignore[method-assign,assignment]
    async with make_link():
        assert (await server.ask(DEVICE_ID, "request_ota", size=5, sha256="00" * 32))["status"] == "error"
        box.updates.begin = begin  # type: ignore[method-assign]
        box.updates.install = lambda _: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        assert (await update(server, 2))[1]["status"] == "error"
        assert box.updates.left == []
        box.updates.install = install  # type: ignore[method-assign]
        assert (await update(server, 2))[1]["status"] == "ok"
    assert caplog.text.count("ZeroDivisionError") == 2


# What breaks off


@FORMS
async def test_a_disconnect(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any) -> None:
    """The partial file is gone, audio works, OTA_COMPLETE means nothing, and the next update succeeds."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        await server.offer_firmware(DEVICE_ID, IMAGE, form, how=Sending(cut_at=9))
        await server.wait_for(lambda: speaker.connections == 2 and speaker.live)
        assert box.updates.left == []
        assert not box.updates.busy
        since = speaker.mark()
        await server.send_raw(DEVICE_ID, "OTA_COMPLETE")
        await hears(server, box)
        assert speaker.messages[since:] == []
        assert (await update(server, form))[1]["status"] == "ok"
        assert box.updates.installed == [IMAGE]


@FORMS
async def test_a_stall(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any) -> None:
    """60 s without a frame (here less): as good as a disconnect, and said."""
    async with make_link(ota_lost_s=1.0):
        speaker = await server.connected(DEVICE_ID)
        sending = asyncio.create_task(server.offer_firmware(DEVICE_ID, IMAGE, form, how=Sending(stall_s={9: 0.1, 12: 60})))
        _, end = await speaker.wait_answers(2)
        assert end["status"] == "error"
        assert "nothing came" in end["message"]
        sending.cancel()
        assert box.updates.left == []
        await server.send_raw(DEVICE_ID, "OTA_COMPLETE")
        await hears(server, box)
        assert (await update(server, form))[1]["status"] == "ok"
        assert speaker.connections == 1


async def test_ota_complete_without_an_update(server: SpeakerServer, make_link: MakeLink) -> None:
    """Ignored."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        await server.send_raw(DEVICE_ID, "OTA_COMPLETE")
        await server.ask(DEVICE_ID, "request_status")
        assert len(speaker.messages) == 2


@pytest.mark.parametrize("fails", ["", "the disk has no room for the new version"])
async def test_the_connection_is_lost_while_it_is_installed(
    server: SpeakerServer, box: StandInBox, make_link: MakeLink, fails: str
) -> None:
    """It goes on; its failure is told after the next handshake, once; its success the version in the handshake tells."""
    box.updates.go.clear()
    box.updates.fails = fails
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        await server.offer_firmware(DEVICE_ID, IMAGE, 2)
        await until(lambda: box.updates._installs)
        await server.stop()
        box.updates.go.set()
        await until(lambda: not box.updates._installs)
        since = speaker.mark()
        await server.start()
        for number in (2, 3):
            await server.wait_for(lambda n=number: speaker.connections == n)  # type: ignore[misc]
            assert (await server.ask(DEVICE_ID, "request_ota", size=0))["status"] == "error"
            server.drop(DEVICE_ID)
        told = [answer["message"] for answer in speaker.answers(since) if not answer["message"].startswith("size")]
        assert told == ([fails] if fails else [])
        assert box.updates.restarts == (0 if fails else 1)
        assert box.updates.left == []


async def test_a_rollback_is_reported(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """After the handshake, with its cause, once; a version that was kept says so by the handshake."""
    cause = "no picture was presented within 120 s"
    box.updates.reports = [StandInReport("rolled back", "2.0.0", cause), StandInReport("committed", "2.0.1")]
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        await speaker.wait_answers(1)
        for number in (2, 3):
            server.drop(DEVICE_ID)
            await server.wait_for(lambda n=number: speaker.connections == n)  # type: ignore[misc]
        await server.ask(DEVICE_ID, "request_status")
        told = {"status": "error", "message": f"The update to 2.0.0 was rolled back: {cause}", "device_id": DEVICE_ID}
        assert speaker.answers()[:-1] == [told]
        assert box.updates.told_to == ["ptalk", "ptalk"]


async def test_the_order_of_answers(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """A slow command before the request holds its answer up, and with it what is said of chunks; nothing is lost."""
    setting, go = box.volume.set, asyncio.Event()

    async def slowly(percent: int) -> None:
        await go.wait()
        await setting(percent)

    box.volume.set = slowly  # type: ignore[method-assign]
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        await server.send(DEVICE_ID, {"cmd": "set_volume", "volume": 5})
        sending = asyncio.create_task(server.offer_firmware(DEVICE_ID, IMAGE, 3))
        await until(lambda: box.updates.pieces)
        assert len(speaker.messages) == 1
        go.set()
        await sending
        await until(lambda: box.updates.restarts)
        kinds = [
            next(iter(one.data)) if "status" not in one.data else one.data.get("message", "volume") for one in speaker.messages
        ]
        assert kinds == ["cmd", "volume", "Ready to receive firmware", *["ota_ack"] * 31, "Update installed, restarting into it"]


@FORMS
async def test_mutated_streams(server: SpeakerServer, box: StandInBox, make_link: MakeLink, form: Any) -> None:
    """Of hundreds none is taken for another image, none ends the connection, none leaves anything behind."""
    image = make_bundle(3000)
    digest = hashlib.sha256(image).hexdigest()
    keys: dict[str, Any] = {} if form == 1 else {"size": len(image), "sha256": digest}
    if form == 3:
        keys |= {"chunk_size": 256, "total_chunks": 12}
    async with make_link(ota_quiet_s=0.01, ota_lost_s=0.2):
        speaker = await server.connected(DEVICE_ID)
        for seed in range(rounds(700)):
            await server.send(DEVICE_ID, {"cmd": "request_ota", **keys})
            for frame in mutate(frames_of(image, form), random.Random(seed)):
                await server.send_raw(DEVICE_ID, frame)
            await server.send_raw(DEVICE_ID, "OTA_COMPLETE")
            await until(lambda n=seed: len(box.updates.begun) > n and not box.updates.busy)  # type: ignore[misc]
        await server.send(DEVICE_ID, {"cmd": "set_volume", "volume": 3})
        await server.wait_for(lambda: speaker.answers()[-1].get("volume") == 3)
        assert speaker.connections == 1
        assert set(box.updates.installed) <= {image}
        assert box.updates.left == []
        assert (await update(server, 3))[1]["status"] == "ok"


async def test_it_ends_in_the_midst(server: SpeakerServer, box: StandInBox, make_link: MakeLink) -> None:
    """A link that is taken down leaves nothing on the disk."""
    async with make_link():
        speaker = await server.connected(DEVICE_ID)
        sending = asyncio.create_task(server.offer_firmware(DEVICE_ID, IMAGE, 2, how=Sending(stall_s={9: 60})))
        await until(lambda: len(box.updates.pieces) == 9)
        sending.cancel()
    assert box.updates.left == []
    assert not box.updates.busy
    assert len(speaker.answers()) == 1
