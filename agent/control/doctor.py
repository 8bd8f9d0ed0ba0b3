"""`signage-agent doctor`: what the box has, what it lacks, and what to do about it. Reads only; changes nothing."""

from __future__ import annotations

import ctypes.util
import grp
import importlib.util
import os
import pwd
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agent import __version__

if TYPE_CHECKING:
    from agent.settings import Settings

SERVICE_USER = "signage-agent"
_GROUPS = {
    "video": "screens and backlights",
    "render": "the graphics card",
    "audio": "sound cards",
    "input": "buttons",
    "i2c": "brightness of monitors (DDC)",
    "gpio": "buttons",
}
_BACKLIGHT_RULE = (
    'ACTION=="add", SUBSYSTEM=="backlight", RUN+="/bin/chgrp video /sys%p/brightness", RUN+="/bin/chmod g+w /sys%p/brightness" '
    "in /etc/udev/rules.d/60-signage-agent.rules (scripts/install puts it there)"
)
_EARLIEST_CLOCK = 1_735_689_600  # 2025-01-01
_MARKS = {"good": ("ok  ", "32"), "note": ("note", "33"), "bad": ("BAD ", "31")}


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `advice` says what to do, where there is something."""

    subject: str
    verdict: Literal["good", "note", "bad"]
    text: str
    advice: str = ""


def examine(
    config: Path | None, control_socket: Path | None, *, environ: Mapping[str, str] = os.environ, root: Path = Path("/")
) -> Iterator[Finding]:
    """Everything worth looking at; `root` is where /dev, /proc and /usr are looked for."""
    from agent.settings import Settings, SettingsError, load_settings  # noqa: PLC0415 - `--help` must not wait for pydantic
    from agent.settings.remarks import remarks  # noqa: PLC0415

    yield Finding("agent", "good", f"version {__version__}, Python {sys.version.split()[0]}")
    settings = Settings()
    try:
        settings = load_settings(config, environ=environ)
        yield Finding("configuration", "good", f"{config or 'no file, defaults only'}: no faults")
        for remark in remarks(settings, environ):
            yield Finding("configuration", "note", remark)
    except SettingsError as error:
        for fault in error.faults:
            yield Finding("configuration", "bad", fault, "correct it, then `signage-agent check`")
    yield _library()
    yield from _outputs(settings, environ, root)
    yield _sound(environ, root)
    yield from _brightness(settings)
    yield from _permissions(root)
    yield from _disk(settings)
    yield from _extras(settings)
    yield _fonts(root)
    yield _clock()
    if control_socket is not None:
        yield _daemon(control_socket)


def report(findings: Iterable[Finding]) -> int:
    """Prints the findings as they come; 1 if one of them is bad, else 0."""
    colored = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    bad = 0
    for finding in findings:
        mark, color = _MARKS[finding.verdict]
        bad += finding.verdict == "bad"
        print(f"\x1b[{color}m{mark}\x1b[0m" if colored else mark, f"{finding.subject:14}", finding.text, flush=True)
        if finding.advice:
            print(" " * 19, f"→ {finding.advice}", flush=True)
    return 1 if bad else 0


def _library() -> Finding:
    name = ctypes.util.find_library("mpv")
    if name is None:
        return Finding("libmpv", "bad", "not found: nothing can be shown", "sudo apt install libmpv2")
    return Finding("libmpv", "good", name)


def _outputs(settings: Settings, environ: Mapping[str, str], root: Path) -> Iterator[Finding]:
    for name, screen in settings.screens.items():
        output, subject = screen.output, f"screen {name}"
        if output == "auto":
            output = "wayland" if environ.get("WAYLAND_DISPLAY") else "x11" if environ.get("DISPLAY") else "drm:"
        if output == "null":
            yield Finding(subject, "note", "output is null: nothing is shown")
        elif output == "x11":
            yield _x11(subject, environ, root)
        elif output == "wayland":
            yield _wayland(subject, environ)
        else:
            yield _drm(subject, output.removeprefix("drm:"), settings.hardware.sysfs, root)


def _x11(subject: str, environ: Mapping[str, str], root: Path) -> Finding:
    display = environ.get("DISPLAY", "")
    host, _, number = display.partition(":")
    if not display:
        return Finding(
            subject, "bad", "output is x11, but DISPLAY is not set", "start the agent within the X session, or set DISPLAY"
        )
    if host:
        return Finding(subject, "good", f"X server on another host: DISPLAY={display}")
    path = root / "tmp/.X11-unix" / f"X{number.partition('.')[0]}"
    if not path.exists():
        return Finding(subject, "bad", f"DISPLAY={display}, but there is no X server: {path}", "start the X server first")
    return Finding(subject, "good", f"X server DISPLAY={display}")


def _wayland(subject: str, environ: Mapping[str, str]) -> Finding:
    path = Path(environ.get("XDG_RUNTIME_DIR", "/")) / environ.get("WAYLAND_DISPLAY", "wayland-0")
    if not path.exists():
        return Finding(subject, "bad", f"there is no Wayland compositor: {path}", "start it first, as the same user as the agent")
    return Finding(subject, "good", f"Wayland compositor {path}")


def _drm(subject: str, connector: str, sysfs: Path, root: Path) -> Finding:
    if not sorted((root / "dev/dri").glob("card*")):
        return Finding(
            subject,
            "bad",
            "no graphics card (/dev/dri), no DISPLAY, no WAYLAND_DISPLAY",
            "on a Raspberry Pi: dtoverlay=vc4-kms-v3d in /boot/firmware/config.txt; elsewhere start a desktop",
        )
    found = {path.name.partition("-")[2]: path for path in sorted((sysfs / "class/drm").glob("card*-*"))}
    wanted = {connector: found[connector]} if connector in found else found if not connector else {}
    if not wanted:
        return Finding(subject, "bad", f"there is no connector {connector}", f"there are: {', '.join(found) or 'none'}")
    states = {name: _read(path / "status") for name, path in wanted.items()}
    usable = [name for name, state in states.items() if state == "connected" and _read(wanted[name] / "modes")]
    if not usable:
        text = ", ".join(f"{name} {state}" for name, state in states.items())
        return Finding(subject, "note", f"no display is on: {text}", "switch the display on; the agent takes it when it comes")
    return Finding(subject, "good", f"display at {', '.join(usable)}")


def _sound(environ: Mapping[str, str], root: Path) -> Finding:
    server = Path(environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")) / "pulse/native"
    if environ.get("PULSE_SERVER") or server.exists():
        return Finding("sound", "good", f"sound server {environ.get('PULSE_SERVER') or server}")
    lines = _read(root / "proc/asound/cards").splitlines()
    cards = [line.split("[")[1].split("]")[0].strip() for line in lines if "[" in line]
    if not cards:
        return Finding(
            "sound", "note", "no sound card and no sound server: videos are silent", "plug one in, or switch HDMI audio on"
        )
    return Finding("sound", "good", f"sound cards: {', '.join(cards)}")


def _brightness(settings: Settings) -> Iterator[Finding]:
    backlights = sorted((settings.hardware.sysfs / "class/backlight").glob("*"))
    backend = settings.brightness.backend
    if backend == "backlight" and not backlights:
        yield Finding("brightness", "bad", "there is no backlight", 'set brightness.backend to "auto", "ddc" or "software"')
    for backlight in backlights if backend in {"auto", "backlight"} else []:
        if os.access(backlight / "brightness", os.W_OK):
            yield Finding("brightness", "good", f"backlight {backlight.name}")
        else:
            text = f"backlight {backlight.name} may not be written by this user"
            yield Finding("brightness", "note", text, f"a udev rule: {_BACKLIGHT_RULE}")


def _permissions(root: Path) -> Iterator[Finding]:
    try:
        user = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        user = pwd.getpwuid(os.getuid())
    if user.pw_uid == 0:
        yield Finding("permissions", "note", "root may everything; the service should run as a user of its own")
        return
    member = {grp.getgrgid(group).gr_name for group in os.getgrouplist(user.pw_name, user.pw_gid)}
    missing = [name for name in _GROUPS if name not in member and f"\n{name}:" in f"\n{_read(root / 'etc/group')}"]
    if not missing:
        yield Finding("permissions", "good", f"user {user.pw_name} is in the groups it needs")
    for name in missing:
        advice = f"sudo usermod -aG {name} {user.pw_name}, then log in or start again"
        yield Finding("permissions", "note", f"user {user.pw_name} is not in group {name}: {_GROUPS[name]}", advice)


def _disk(settings: Settings) -> Iterator[Finding]:
    place = settings.device.state_dir
    existing = next(path for path in (place, *place.absolute().parents) if path.exists())
    if place.exists() and not os.access(place, os.W_OK):
        yield Finding(
            "disk", "note", f"{place} may not be written by this user", f"right for the service; else sudo chown -R $USER {place}"
        )
    usage = shutil.disk_usage(existing)
    text = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB at {existing}"
    if usage.free <= settings.media.reserve:
        yield Finding(
            "disk", "bad", f"{text}: less than media.reserve, nothing can be downloaded", "make room, or lower media.reserve"
        )
    elif usage.free < settings.media.quota + settings.media.reserve:
        yield Finding("disk", "note", f"{text}: less than media.quota and media.reserve together", "fine while the media fit")
    else:
        yield Finding("disk", "good", text)


def _extras(settings: Settings) -> Iterator[Finding]:
    camera = any(link.kind == "camera" for link in settings.links)
    wanted = {
        "aiortc": ("camera", camera, "sudo scripts/install --with-camera"),
        "picamera2": ("camera", camera and settings.camera.source == "picamera2", "sudo apt install python3-picamera2"),
        "monitorcontrol": ("brightness", settings.brightness.backend == "ddc", "pip install 'signage-agent[ddc]'"),
    }
    for module, (subject, needed, advice) in wanted.items():
        if importlib.util.find_spec(module) is not None:
            yield Finding(subject, "good", f"{module} is installed")
        elif needed:
            yield Finding(subject, "bad", f"{module} is not installed and the configuration needs it", advice)


def _fonts(root: Path) -> Finding:
    names = {path.name for path in (root / "usr/share/fonts").rglob("*.tt[cf]")}
    lacking = [
        package
        for package, prefix in (
            ("fonts-noto-core", "NotoSans-"),
            ("fonts-noto-cjk", "NotoSansCJK-"),
            ("fonts-symbola", "Symbola"),
        )
        if not any(name.startswith(prefix) for name in names)
    ]
    if lacking:
        advice = f"sudo apt install {' '.join(lacking)}"
        return Finding("fonts", "note", "not every alphabet and symbol can be shown in the ticker", advice)
    return Finding("fonts", "good", "Noto, Noto CJK and Symbola are there")


def _clock() -> Finding:
    if time.time() < _EARLIEST_CLOCK:
        text = f"it is {time.strftime('%Y-%m-%d')} here: TLS certificates are not valid yet"
        return Finding("clock", "bad", text, "switch time synchronisation on: sudo timedatectl set-ntp true")
    return Finding("clock", "good", time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def _daemon(path: Path) -> Finding:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except PermissionError:
            return Finding("daemon", "note", f"{path} may not be opened by this user", f"sudo usermod -aG {SERVICE_USER} $USER")
        except OSError:
            return Finding(
                "daemon", "note", f"no agent answers at {path}", "sudo systemctl start signage-agent, or signage-agent run"
            )
    return Finding("daemon", "good", f"answers at {path}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
