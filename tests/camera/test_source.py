"""Which camera is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from agent.camera import source as sources, v4l2
from agent.camera.source import Picture, SourceError, open_source
from agent.camera.v4l2 import V4l2Source, cameras
from tests.camera.conftest import PICTURE

OPEN = av.open


@pytest.fixture
def usb(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """A USB camera that takes MJPEG only, played by ffmpeg's own test picture; the options it was opened with."""
    opened: list[dict[str, str]] = []

    def stand_in(device: str, *, format: str, options: dict[str, str]) -> Any:  # noqa: A002 - as PyAV names it
        assert format == "v4l2"
        opened.append(options)
        if device != "/dev/video7":
            raise FileNotFoundError(2, "No such file or directory", device)
        if options.get("input_format") == "yuyv422":
            raise av.error.ArgumentError(22, "Invalid argument", device)
        return OPEN("testsrc2=size=322x242:rate=30:duration=0.2,format=yuvj422p", format="lavfi")

    monkeypatch.setattr(av, "open", stand_in)
    return opened


def test_a_usb_camera(usb: list[dict[str, str]]) -> None:
    """Opened with the size, rate and format wanted; its pictures become what the encoder takes; its end is told."""
    source = open_source("v4l2:/dev/video7", PICTURE)
    assert source.name == "v4l2:/dev/video7"
    assert usb == [{"video_size": "320x240", "framerate": "60", "input_format": "mjpeg"}]
    for _ in range(6):
        frame = source.read()
        assert frame is not None
        assert (frame.width, frame.height, frame.format.name) == (322, 242, "yuv420p")
    with pytest.raises(SourceError, match="v4l2:/dev/video7 is gone"):
        source.read()
    source.close()


def test_a_usb_camera_with_other_formats(usb: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not take is tried otherwise, in the end with its own settings."""
    stand_in = av.open

    def picky(device: str, **keywords: Any) -> Any:
        result = stand_in(device, **keywords)
        if keywords["options"]:
            raise av.error.ArgumentError(22, "Invalid argument", device)
        return result

    monkeypatch.setattr(av, "open", picky)
    V4l2Source("/dev/video7", PICTURE).close()
    assert [options.get("input_format") for options in usb] == ["mjpeg", "yuyv422", None, None]
    assert usb[-1] == {}


def test_broken_pictures_at_the_start_do_not_matter(usb: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """USB cameras begin with rubbish; a camera that gives nothing else is given up."""
    source = V4l2Source("/dev/video7", PICTURE)

    class Container:
        def __init__(self, broken: int) -> None:
            self.broken = broken

        def decode(self, stream: Any) -> Any:
            for _ in range(2):
                self.broken -= 1
                if self.broken >= 0:
                    raise av.error.InvalidDataError(1, "Invalid data found when processing input")
                yield av.VideoFrame(64, 48, "yuv420p")

    source._container = Container(3)  # type: ignore[assignment]
    assert source.read() is not None
    source._container = Container(1000)  # type: ignore[assignment]
    source._frames = source._decode()
    with pytest.raises(SourceError, match="Invalid data"):
        source.read()


def test_a_camera_that_is_not_there() -> None:
    """The real PyAV says so at once, and the message names the camera."""
    with pytest.raises(SourceError, match="v4l2:/dev/no-camera cannot be opened: No such file"):
        open_source("v4l2:/dev/no-camera", PICTURE)


def test_a_device_that_is_no_camera(tmp_path: Path) -> None:
    """Nor is it listed."""
    device = tmp_path / "video0"
    device.write_bytes(b"")
    (tmp_path / "video-codec").write_bytes(b"")
    assert cameras(tmp_path) == []
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source(f"v4l2:{device}", PICTURE)


def test_cameras_are_told_from_codecs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the driver says of the device, in the order of their numbers."""
    for number in (10, 2, 0, 19):
        (tmp_path / f"video{number}").write_bytes(b"")
    kinds = {"video0": 0x04200001, "video2": 0x04A00000, "video10": 0x04200001, "video19": 0x04204000}

    def answer(device: Any, request: int, argument: bytes) -> bytes:
        assert (request, len(argument)) == (0x80685600, 104)
        return v4l2._CAPABILITY.pack(b"driver", b"card", b"bus", 0, 0x84A00001, kinds[Path(device.name).name])

    monkeypatch.setattr("fcntl.ioctl", answer)
    assert cameras(tmp_path) == [str(tmp_path / "video0"), str(tmp_path / "video10")]


def test_auto_takes_the_first_that_works(usb: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Pi camera the USB cameras are tried in turn."""
    monkeypatch.setattr(v4l2, "cameras", lambda: ["/dev/video3", "/dev/video7"])
    source = open_source("auto", PICTURE)
    assert source.name == "v4l2:/dev/video7"
    source.close()


@pytest.mark.parametrize(
    ("devices", "words"), [([], "no camera was found"), (["/dev/video3"], "no camera works: the camera v4l2:/dev/video3")]
)
def test_auto_finds_none(usb: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, devices: list[str], words: str) -> None:
    """The message says so, or what was wrong with those there are."""
    monkeypatch.setattr(v4l2, "cameras", lambda: devices)
    with pytest.raises(SourceError, match=words):
        open_source("auto", PICTURE)


def test_none_is_refused() -> None:
    """As is everything that is no source."""
    with pytest.raises(SourceError, match="switched off"):
        sources.open_source("none", Picture(320, 240, 30))
