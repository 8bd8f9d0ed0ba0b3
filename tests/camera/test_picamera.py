"""The Raspberry Pi's cameras, against a stand-in with the signatures of picamera2."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.camera.messages import Refused
from agent.camera.picamera import PiCameraSource
from agent.camera.source import Picture, SourceError, open_source
from agent.camera.studio import StudioTimers
from tests.camera.conftest import PICTURE, OpenRoom
from tests.camera.viewer import read_row


@pytest.fixture
def pi(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in, as if it were installed; a Pi 4 by default."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "standin"))
    yield importlib.import_module("picamera2")
    for name in [name for name in sys.modules if name.split(".")[0] == "picamera2"]:
        del sys.modules[name]


def be_a_pi_5(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on there is no encoder in the chip."""
    platform = importlib.import_module("picamera2.platform")
    monkeypatch.setattr(platform, "_platform", platform.Platform.PISP)


async def test_a_pi_4_encodes_by_itself(room: OpenRoom, pi: Any) -> None:
    """Its packets go to all viewers as they are; the encoder runs while somebody watches, with headers repeated."""
    watched = room(source="picamera2")
    first = await watched.watch("one")
    second = await watched.watch("two")
    assert watched.state.encoder == "v4l2 (picamera2)"
    assert watched.studio._capture is not None
    assert watched.studio._capture._encoders["H264"]._thread is None
    await first.sees()
    await second.sees()
    assert pi.behaviour.log == ["open 0", "encode 1000000 600 constrained baseline"]
    watched.close("one")
    watched.close("two")
    await watched.until(lambda: watched.studio._capture is None)
    assert pi.behaviour.log[2:] == ["stop encoder", "close"]


async def test_an_older_picamera2_cannot_be_asked_for_keyframes(room: OpenRoom, pi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then they come every half second, so that nobody waits longer."""
    monkeypatch.delattr(importlib.import_module("picamera2.encoders").H264Encoder, "force_key_frame")
    watched = room(source="picamera2")
    await watched.watch("one")
    await watched.watch("two")
    assert "encode 1000000 30 constrained baseline" in pi.behaviour.log


async def test_a_pi_4_with_a_viewer_that_knows_no_h264(room: OpenRoom, pi: Any) -> None:
    """The pictures themselves are taken for it, beside the encoder's."""
    watched = room(source="picamera2")
    first = await watched.watch("one")
    await watched.watch("two", codec="VP8")
    await first.sees()
    assert watched.state.encoder == "v4l2 (picamera2) + libvpx"


async def test_another_bitrate_starts_the_encoder_anew(room: OpenRoom, pi: Any) -> None:
    """Viewers go on from a keyframe."""
    watched = room(source="picamera2")
    viewer = await watched.watch("one")
    watched.studio.rate._step += 1
    await watched.until(lambda: "encode 750000 600 constrained baseline" in pi.behaviour.log)
    await viewer.sees(4)


async def test_a_pi_5_is_encoded_by_us(room: OpenRoom, pi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pictures go through libx264."""
    be_a_pi_5(monkeypatch)
    watched = room(source="picamera2")
    await watched.watch("one")
    assert watched.state.encoder == "libx264"
    assert pi.behaviour.log == ["open 0"]


def test_the_lines_of_its_pictures_are_longer_than_the_picture(pi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What libcamera pads is left out."""
    be_a_pi_5(monkeypatch)
    for width in (320, 384):
        source = PiCameraSource(Picture(width, 240, 60))
        frame = source.read()
        assert frame is not None
        assert (frame.width, frame.height, frame.format.name) == (width, 240, "yuv420p")
        assert read_row(frame, 0) is not None
        source.close()


@pytest.mark.parametrize(("name", "number"), [("fails_after", 20), ("stands_still_after", 20)])
async def test_a_ribbon_cable_that_comes_loose(
    room: OpenRoom, pi: Any, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """A camera that says so, and one that stands still: viewers are told, and the next one tries again."""
    be_a_pi_5(monkeypatch)
    monkeypatch.setattr("agent.camera.picamera.STALL_S", 0.3)
    setattr(pi.behaviour, name, number)
    watched = room(source="picamera2")
    await watched.watch("one")
    assert "gives no more pictures" in (await watched.hears("one", Refused)).message
    setattr(pi.behaviour, name, 10**9)
    await watched.watch("two")


async def test_an_encoder_that_stands_still(room: OpenRoom, pi: Any) -> None:
    """Nothing comes of it any more: noticed by the studio."""
    pi.behaviour.stands_still_after = 20
    watched = room(source="picamera2", studio_timers=StudioTimers(close_s=0.02, stall_s=0.3, look_s=0.05))
    await watched.watch("one")
    assert "gives no pictures" in (await watched.hears("one", Refused)).message


def test_usb_cameras_are_left_to_v4l2(pi: Any) -> None:
    """libcamera lists them, too; the first that is none is opened."""
    pi.behaviour.cameras = ["/base/usb@1", "/base/soc/i2c0mux/i2c@1/imx708@1a"]
    PiCameraSource(PICTURE).close()
    assert pi.behaviour.log[0] == "open 1"
    pi.behaviour.cameras = ["/base/usb@1"]
    with pytest.raises(SourceError, match="no camera on the Raspberry Pi's camera connector"):
        PiCameraSource(PICTURE)


def test_without_picamera2() -> None:
    """The message says what to install; whatever its import raises."""
    with pytest.raises(SourceError, match="apt install python3-picamera2"):
        open_source("picamera2", PICTURE)


def test_a_camera_that_does_not_open(pi: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In use by somebody else, or faulty: a message, and nothing left open."""
    monkeypatch.setattr(pi.Picamera2, "start", lambda self: (_ for _ in ()).throw(RuntimeError("Failed to start camera")))
    with pytest.raises(SourceError, match="cannot be started: Failed to start camera"):
        PiCameraSource(PICTURE)
    assert pi.behaviour.log == ["open 0", "close"]
    monkeypatch.setattr(pi.Picamera2, "__init__", lambda self, number: (_ for _ in ()).throw(RuntimeError("in use")))
    with pytest.raises(SourceError, match="cannot be opened: in use"):
        PiCameraSource(PICTURE)


def test_auto_takes_it_first(pi: Any) -> None:
    """Before anything the kernel lists."""
    source = open_source("auto", PICTURE)
    assert source.name == "picamera2"
    source.close()
