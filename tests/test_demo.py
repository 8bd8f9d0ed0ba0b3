"""scripts/demo as a person runs it: it ends by itself with a picture, and leaves no process behind however it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

CHECKOUT = Path(__file__).resolve().parent.parent
DEMO = CHECKOUT / "scripts/demo"


@pytest.mark.timeout(110)
def test_demo_ends_by_itself_with_a_picture(tmp_path: Path) -> None:
    """--seconds and --screenshot: a playlist got ready, feed and film came and went, the picture is not flat; exit status 0."""
    picture = tmp_path / "screen.png"
    result = subprocess.run(
        [DEMO, "--port", "0", "--seconds", "40", "--screenshot", picture],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "all is well" in result.stdout
    assert "feed came over the playlist and handed the screen back" in result.stdout
    assert "film was seen coming, played once over the playlist" in result.stdout
    assert re.search(r"^demo: console: http://127\.0\.0\.1:\d+/", result.stdout, re.MULTILINE)
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert len(image.convert("RGB").resize((64, 36)).getcolors(64 * 36) or []) > 12


@pytest.mark.timeout(110)
@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)], ids=["ctrl-c", "kill"])
def test_demo_leaves_no_process(how: signal.Signals, status: int) -> None:
    """After Ctrl-C, and after kill -9 of the demo itself, everything it started has ended."""
    demo = subprocess.Popen([DEMO, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    said = ""
    for line in demo.stdout:
        said += line
        if line.startswith("demo: screen front: playing"):
            break
    else:
        pytest.fail(said)
    family = set(_descendants(demo.pid))
    assert len(family) >= 4, "server, screen, agent and its worker"
    demo.send_signal(how)
    assert demo.wait(30) == status
    deadline = time.monotonic() + 15
    while alive := [pid for pid in family if _parent(pid) is not None]:
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in alive]
        time.sleep(0.1)
    demo.stdout.close()


def _descendants(pid: int) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        if _parent(int(entry.name)) == pid:
            yield int(entry.name)
            yield from _descendants(int(entry.name))


def _parent(pid: int) -> int | None:
    """The parent of a process; None if the process has ended."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else int(parent)
