"""How the status is shown to people."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import get_type_hints

import pytest

from agent.control.status import (
    BrightnessStatus,
    CameraStatus,
    DeviceStatus,
    DownloadStatus,
    LinkStatus,
    PlaylistStatus,
    ScreenStatus,
    Status,
    UpdateStatus,
    VolumeStatus,
    bar,
    render,
    size_text,
    timestamp,
)
from tests.control.conftest import document

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def test_the_view() -> None:
    """Everything a technician asks first, aligned."""
    assert render(document(), now=NOW, width=100) == [
        "Lobby (LOBBY-01)  version 0.1.0, up 1 d 2 h",
        "volume 60 % (alsa:vc4hdmi0/PCM)   brightness 80 % (backlight)",
        "",
        "Screens",
        "  front  playing  Welcome.mp4  playlist 7, item 3, at 1:15, since 09:30:00, worker restarts: 1",
        "         ticker   Fresh bread",
        "  rear   down     -            since 2026-01-04 22:00, HDMI-A-2 is disconnected",
        "",
        "Links",
        "  main  signage  connected  since 09:00:00",
        "  t     tronbyt  waiting    3 attempts, connection refused",
        "",
        "Playlists",
        "  Morning (7)  partial  2/3  missing: b.jpg",
        "",
        "Downloads",
        "  film.mp4    ██████████████████░░░░░░░░░░░░░░░░░░░░░░   45 %  45.0 MB of 100 MB",
        "  stream.mp4  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░    ? %  1.2 kB",
        "",
        "Warnings",
        "  ! under-voltage: use a better power supply",
    ]


KEYS = {
    Status: "version uptime_s device volume brightness screens playlists downloads links camera update warnings",
    DeviceStatus: "serial device_id name",
    VolumeStatus: "percent muted backend",
    BrightnessStatus: "percent backend",
    ScreenStatus: "state program playlist_id media_id media_index title since position_s overlay worker_restarts",
    PlaylistStatus: "link id name status total_items downloaded_items missing_files error",
    DownloadStatus: "name received_bytes total_bytes",
    LinkStatus: "name kind state since attempts last_error",
    CameraStatus: "source viewers encoder",
    UpdateStatus: "version candidate last_result state",
}


@pytest.mark.parametrize(("part", "keys"), KEYS.items())
def test_the_document_has_the_keys_of_the_design(part: type, keys: str) -> None:
    """Other people's tools read these keys: none may go; more may come."""
    assert set(keys.split()) <= set(get_type_hints(part))


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """The redrawing view counts on one row for each line."""
    status = document()
    status["screens"]["front"]["title"] = "Ein sehr langer Titel " * 9
    status["playlists"][0]["missing_files"] = [f"{number}.mp4" for number in range(99)]
    status["downloads"][0]["name"] = "日本語の長い名前" * 9
    for line in render(status, now=NOW, width=width):
        wide = sum(1 for character in line if "\u3000" < character < "\u9fff")
        assert len(line) + wide <= max(width, 40), line


def test_a_strip_and_what_waits() -> None:
    """The technician reads what stands on the progress strip, and what comes next on a screen that shows something."""
    status = document()
    front = status["screens"]["front"]
    front["strip"], front["waiting"] = ["Film.mkv · Encoding · 43 %", "and 2 more"], ["films (Second.mkv)", "main"]
    lines = render(status, now=NOW, width=100)
    at = next(number for number, line in enumerate(lines) if "ticker" in line)
    assert [line.split(maxsplit=1) for line in lines[at + 1 : at + 4]] == [
        ["strip", "Film.mkv · Encoding · 43 %"],
        ["strip", "and 2 more"],
        ["waiting", "films (Second.mkv), main"],
    ]


def test_an_update() -> None:
    """What comes, what is on probation and what it lacks, and how the last one ended; the cause is a server's text, too."""
    status = document()
    status["update"] = {
        "version": "0.1.0",
        "state": "receiving",
        "received_bytes": 12_000_000,
        "total_bytes": 60_000_000,
        "by": "main",
        "candidate": {"version": "0.2.0", "state": "on probation", "unmet": ["no server was reached"]},
        "last_result": {"result": "rolled back", "version": "0.2.0", "cause": "it \x1b[2J", "at": "2026-01-05T09:58:00+00:00"},
    }
    lines = render(status, now=NOW, width=100)
    begin = lines.index("Update")
    assert lines[begin : begin + 5] == [
        "Update",
        "  receiving     from main      12.0 MB of 60.0 MB",
        "  on probation  version 0.2.0  no server was reached",
        "  rolled back   version 0.2.0  it  [2J, 09:58:00",
        "",
    ]


def test_films_on_their_way() -> None:
    """Each job of a converter with what is known of it."""
    job = {
        "link": "films",
        "id": "j1",
        "title": "A film.mkv",
        "state": "processing",
        "percent": 45.5,
        "stage": "TRANSCODE",
        "eta_s": 65,
    }
    failed = {"link": "films", "id": "j2", "title": "B", "state": "failed", "percent": None, "error": "no encoder"}
    lines = render(document() | {"jobs": [job, failed, {}]}, now=NOW)
    place = lines.index("Films")
    assert re.fullmatch(r"  A film.mkv  processing  █+░+  46 %, transcode, 1:05 left", lines[place + 1])
    assert re.fullmatch(r"  B +failed +no encoder", lines[place + 2])


def test_texts_from_servers_cannot_steer_the_terminal() -> None:
    """Escape sequences and line ends in names are shown as spaces."""
    status = document()
    status["screens"]["front"]["title"] = "\x1b[2Jbad\nline\x07"
    status["warnings"] = ["\x1b]0;title\x07"]
    text = "\n".join(render(status, now=NOW))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_colors_change_nothing_but_the_color() -> None:
    """The same text, painted."""
    painted = render(document(), now=NOW, color=True)
    assert "\x1b[32mplaying\x1b[0m" in "\n".join(painted)
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in painted] == render(document(), now=NOW)


def test_missing_keys_are_no_failure() -> None:
    """The daemon may be another version than the command line."""
    assert render({}, now=NOW) == ["no serial  version ?, up 0 s"]
    assert render({"screens": {"a": {}}, "links": [{}], "playlists": [{}], "downloads": [{}], "warnings": None}, now=NOW)


def test_sizes_bars_and_times() -> None:
    """Units change where people expect it."""
    assert [size_text(size) for size in (0, 999, 1000, 12_345, 999_600, 5e9, 5e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "12.3 kB",
        "1.0 MB",
        "5.0 GB",
        "5000 GB",
    ]
    assert [bar(fraction, 4) for fraction in (-1, 0, 0.5, 1, 2)] == ["░░░░", "░░░░", "██░░", "████", "████"]
    assert timestamp(1_767_605_400.7) == "2026-01-05T09:30:00Z"
