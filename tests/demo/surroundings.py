"""What the agent of the demo finds around it: a server, a screen, sound, a configuration."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

from tests.demo import CHECKOUT, DIRECTORY, SERIAL, DemoError, say
from tests.demo.children import Children
from tests.demo.feed import FEED_ID, FEED_LINK, HOLD_S
from tests.demo.film import FILM_LINK
from tests.servers.conversion_rest import COOKIE, TOKEN
from tests.servers.signage import PASSWORD, USERNAME
from tests.sound import PrivateSound

SIZE = "1280x720"
DEVICE_ID = "02DE30000001"
"""Of the speaker; the agent finds no network interface in the demo's sysfs."""
PLAYLIST_LINK = "main"
MEDIA = DIRECTORY / "media"
SOCKET = DIRECTORY / "run/control.sock"
CONFIGURATION = DIRECTORY / "agent.toml"
BUTTON = DIRECTORY / "run/button"
"""A named pipe: each line written into it presses the push-to-talk button or lets it go."""


def environment() -> dict[str, str]:
    """This process's, without what is meant for another agent, with caches and temporary files in .demo/."""
    foreign = ("SIGNAGE_AGENT_", "NOTIFY_SOCKET", "WATCHDOG_", "JOURNAL_STREAM", "INVOCATION_ID", "CREDENTIALS_DIRECTORY")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | {
        "XDG_CACHE_HOME": str(DIRECTORY / "cache"),
        "MESA_SHADER_CACHE_DIR": str(DIRECTORY / "cache"),
        "TMPDIR": str(DIRECTORY / "tmp"),
    }


def clear() -> None:
    """Removes what an earlier demo left, except the media and the caches."""
    for old in ("state", "run", "sound", "sysfs", "tmp"):
        shutil.rmtree(DIRECTORY / old, ignore_errors=True)
    for new in ("run", "sysfs", "tmp", "cache"):
        (DIRECTORY / new).mkdir(exist_ok=True)


async def start_server(children: Children, port: int) -> str:
    """The mock server; its address."""
    await children.start("server", [sys.executable, "-m", "tests.servers", "--port", str(port), "--media", str(MEDIA)])
    address = ""

    def listens() -> bool:
        nonlocal address
        lines = [line for line in children.last_lines("server", 10) if line.startswith("console: ")]
        address = lines[0].removeprefix("console: ").rstrip("/") if lines else ""
        return bool(address)

    await children.until("server", listens)
    return address


async def start_screen(children: Children) -> str:
    """The agent's output: a window on the desktop, else an X server in memory."""
    if os.environ.get("WAYLAND_DISPLAY"):
        return "wayland"
    if os.environ.get("DISPLAY"):
        return "x11"
    if shutil.which("Xvfb") is None:
        raise DemoError("neither a desktop nor Xvfb here")
    receive, send = os.pipe()
    number = b""

    def written() -> bool:
        nonlocal number
        with contextlib.suppress(BlockingIOError):
            number += os.read(receive, 16)
        return number.endswith(b"\n")

    try:
        os.set_blocking(receive, False)
        await children.start(
            "screen",
            ["Xvfb", "-displayfd", str(send), "-screen", "0", f"{SIZE}x24", "-nolisten", "tcp", "-noreset"],
            pass_fds=[send],
        )
        await children.until("screen", written)
    finally:
        os.close(receive)
        os.close(send)
    display = f":{int(number)}"
    children.environment["DISPLAY"] = display
    say(f"no desktop here: the screen is in memory, {SIZE}, DISPLAY={display}")
    return "x11"


async def start_sound(children: Children) -> str:
    """The agent's mixer control. With a sound card it is one that does not exist: the machine's own volume stays as it is."""
    if Path("/proc/asound/card0").exists():
        return "none"
    if shutil.which("pulseaudio") is None:
        say("neither a sound card nor pulseaudio here: the demo is silent")
        return "none"
    sound = PrivateSound(DIRECTORY / "sound")
    await children.start(
        "sound",
        [
            *("env", f"HOME={sound.directory}", f"XDG_RUNTIME_DIR={sound.directory}"),
            *("pulseaudio", "-n", "-F", str(sound.directory / "default.pa"), "--daemonize=no"),
            *("--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"),
        ],
    )
    await children.until("sound", sound.socket.exists)
    children.environment |= sound.environment
    say("no sound card here: sound goes to a private PulseAudio")
    return "auto"


def write_configuration(address: str, output: str, control: str) -> None:
    """The agent's configuration: the mock server, and nothing of the machine."""
    on_desktop = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    microphone = "default" if control == "auto" or Path("/proc/asound/card0").exists() else ""
    if microphone:
        os.mkfifo(BUTTON)
        say(f"push to talk: echo > {BUTTON.relative_to(CHECKOUT)}, and once more to let go")
    CONFIGURATION.write_text(f"""\
[device]
serial = "{SERIAL}"
name = "Demo"
state_dir = "{DIRECTORY / "state"}"

[screens.front]
output = "{output}"
window = "{SIZE if on_desktop else ""}"

[audio]
control = "{control}"

[voice]
microphone = "{microphone}"
button = "{f"terminal:{BUTTON}" if microphone else ""}"

[brightness]
backend = "software"

[hardware]
sysfs = "{DIRECTORY / "sysfs"}"
reboot_command = ["{sys.executable}", "{Path(__file__).with_name("noted_restart.py")}", "{address}"]

[camera]
source = "test"

[control]
socket = "{SOCKET}"

[[links]]
kind = "signage"
name = "{PLAYLIST_LINK}"
url = "{address}"
username = "{USERNAME}"
password = "{PASSWORD}"
screenshots = 2

[[links]]
kind = "camera"
name = "camera"
url = "{address}/ws/device"

[[links]]
kind = "speaker"
name = "speaker"
url = "{address}"
device_id = "{DEVICE_ID}"

[[links]]
kind = "tronbyt"
name = "{FEED_LINK}"
url = "{address}/{FEED_ID}/ws"
hold_s = {HOLD_S}
spread_s = 1

[[links]]
kind = "conversion"
name = "{FILM_LINK}"
url = "{address}"
token = "{TOKEN}"
session_cookie = "{COOKIE}"
play = "interrupt"
spread_s = 1
""")
