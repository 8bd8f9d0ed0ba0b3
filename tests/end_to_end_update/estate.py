"""A box that updates itself: releases of the real agent, the real units under a stand-in for systemd, a screen, and servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.control.client import ControlClient, NoAgentError, RefusedError
from agent.update.slots import COMMAND, MARKER, Releases, Result, Slots, read_slots
from tests.agent_process import signage_link
from tests.display import Colour, XServer, still
from tests.end_to_end_update.versions import Maker, share_packages
from tests.servers import SignageServer, item, playlist
from tests.servers.speaker import SpeakerServer
from tests.servers.speaker_devices import Speaker
from tests.systemd_stand_in import Systemd
from tests.update import bundles
from tests.update.bundles import CHECKOUT, RUNNING

DEVICE_ID = "A1B2C3D4E5F6"
SERIAL = "BOX-1"
DEADLINE_S = 60.0
GREEN: Colour = (0, 255, 0)
SIZE = (320, 180)
QUICK = {
    "signage-agent.service": {"TimeoutStopSec": "3"},
    "signage-agent-guard.timer": {"OnActiveSec": "300ms", "OnUnitActiveSec": "300ms", "AccuracySec": "0"},
    "signage-agent-update.service": {"RestartSec": "300ms"},
}
"""Shorter times than those of the unit files."""


@dataclass(frozen=True)
class Ground:
    """Where boxes are put up, one at a time, always at the same place: the commands of a release name it."""

    folder: Path
    key: Ed25519PrivateKey
    maker: Maker

    @property
    def box(self) -> Path:
        """The root of the box."""
        return self.folder / "box"

    def kept(self, version: str) -> Path:
        """A release of this checkout, to be put where it belongs in a box."""
        return self.folder / version


def prepare(folder: Path, *versions: str) -> Ground:
    """Builds the version of this checkout as a release, and the same under further numbers."""
    key = bundles.new_key()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "made").mkdir()
    packages = share_packages(folder / "shared")
    ground = Ground(folder, key, Maker(folder / "made", key, (packages,)))
    releases = Releases(ground.box / "opt/signage-agent")
    releases.folder.mkdir(parents=True)
    for version in (RUNNING, *versions):
        wheels = [bundles.real_agent(folder / "wheels", version), packages]
        _unpack(releases.path(version), wheels)
        releases.path(version).rename(ground.kept(version))
    return ground


def _unpack(release: Path, wheels: Sequence[Path]) -> None:
    """A release, made without pip, which takes its time."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", release], check=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(next(release.glob("lib/*/site-packages")))
    command = release / COMMAND
    command.write_text(f"#!{release}/bin/python\nimport sys\nfrom agent.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    (release / MARKER).touch()


@dataclass
class Estate:
    """One box and its servers. `start` it; everything ends with the block of `open_estate`."""

    ground: Ground
    root: Path
    screen: XServer
    signage: SignageServer
    server: SpeakerServer
    systemd: Systemd

    @property
    def speaker(self) -> Speaker:
        """The box as its speaker server knows it."""
        return self.server.speaker(DEVICE_ID)

    @property
    def socket(self) -> Path:
        """The agent's control socket."""
        return self.root / "run/signage-agent/control.sock"

    @property
    def opt(self) -> Path:
        """What belongs to root."""
        return self.root / "opt/signage-agent"

    @property
    def state_dir(self) -> Path:
        """What belongs to the agent."""
        return self.root / "var/lib/signage-agent"

    @property
    def releases(self) -> Releases:
        """Those on the disk."""
        return Releases(self.opt)

    @property
    def slots(self) -> Slots:
        """The record of the root hand and the guard."""
        return read_slots(self.opt / "update/slots.json")

    @property
    def journal(self) -> str:
        """Everything that was said so far."""
        return self.systemd.text()

    @property
    def versions(self) -> list[str]:
        """Of all handshakes so far."""
        return [str(one["firmware_version"]) for one in self.speaker.handshakes]

    def configure(self, *, probation_s: float, update: str, serial: str) -> None:
        """Writes the configuration."""
        tables = [
            f'[device]\nserial = "{serial}"\nstate_dir = "{self.state_dir}"',
            f'[control]\nsocket = "{self.socket}"',
            f'[hardware]\nsysfs = "{self.root / "sys"}"\nreboot_command = ["false"]',
            '[brightness]\nbackend = "software"',
            '[audio]\ncard = "none-in-this-test"',
            '[screens.front]\noutput = "x11"\nsound = false',
            f'[update]\ntrusted_keys = ["{bundles.trusted(self.ground.key)}"]\nprobation_s = {probation_s}\n{update}',
        ]
        url = self.signage.url
        speaker = {"kind": "speaker", "url": url, "device_id": DEVICE_ID, "spread_s": 0.1}
        links = [{**signage_link(url), "name": "main"}, speaker]
        tables += ["[[links]]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in link.items()) for link in links]
        config = self.root / "etc/signage-agent/agent.toml"
        config.write_text("\n".join(tables) + "\n")
        config.chmod(0o640)

    async def start(self) -> None:
        """Turns the box on; it runs, and shows its picture, when this returns."""
        await self.systemd.boot()
        await self.shows_picture()
        await self.server.connected(DEVICE_ID, DEADLINE_S)

    async def shows_picture(self) -> None:
        """Waits until the playlist's picture is on the screen."""
        try:
            await self.screen.shows((self.screen.width // 2, self.screen.height // 2), GREEN, DEADLINE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.journal[-6000:]}") from None

    async def until(self, condition: Callable[[], Any], what: str = "", deadline_s: float = DEADLINE_S) -> Any:
        """Waits until it holds; its value."""
        try:
            async with asyncio.timeout(deadline_s):
                while not (found := condition()):
                    await asyncio.sleep(0.05)
                return found
        except TimeoutError:
            raise AssertionError(f"not within {deadline_s:g} s: {what}\n{self.slots}\n{self.journal[-6000:]}") from None

    async def status(self, condition: Callable[[dict[str, Any]], Any] = lambda _: True) -> dict[str, Any]:
        """The first `update` of the status document for which `condition` holds."""
        client, last = ControlClient(self.socket), {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    with contextlib.suppress(NoAgentError, RefusedError):
                        last = (await asyncio.to_thread(client.status))["update"]
                        if condition(last):
                            return dict(last)
                    await asyncio.sleep(0.05)
        raise AssertionError(f"not in {DEADLINE_S:g} s; status: {last}\n{self.journal[-6000:]}")

    async def greets_as(self, version: str, *, since: int = 0) -> None:
        """Waits for a handshake of this version."""
        await self.until(lambda: version in self.versions[since:], f"handshake of {version}; there were {self.versions}")

    async def result(self, digest: str) -> Result:
        """How the update with this digest ended."""
        await self.until(lambda: (last := self.slots.last_result) and digest.startswith(last.digest[:16]) and last, "a result")
        last = self.slots.last_result
        assert last is not None
        return last

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Runs `signage-agent` of the box; its exit code and what it prints."""
        process = await asyncio.create_subprocess_exec(
            str(self.opt / "current/bin/signage-agent"), *arguments, "--socket", str(self.socket),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd="/",
        )  # fmt: skip
        out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()


def rewriting(root: Path) -> Callable[[list[str]], list[str]]:
    """Tells the guard and the root hand where things are: their places are fixed on a real box."""
    places = {
        "--root": root / "opt/signage-agent",
        "--state-dir": root / "var/lib/signage-agent",
        "--run": root / "run",
        "--boot-id": root / "boot_id",
    }
    options = [f"{name}={path}" for name, path in places.items()]

    def rewrite(words: list[str]) -> list[str]:
        if any(Path(word).name == "guard" for word in words):
            return [*words, *options]
        if words[-1] in ("agent.update.install", "install"):
            return [*words, *options, f"--config={root / 'etc/signage-agent/agent.toml'}"]
        return words

    return rewrite


def put_guard(opt: Path) -> None:
    """The guard's own copy of its modules, as scripts/install makes it."""
    guard = opt / "guard-of-test"
    (guard / "agent/update").mkdir(parents=True)
    for package in ("agent", "agent/update"):
        (guard / package / "__init__.py").touch()
    shutil.copy(CHECKOUT / "systemd/guard.py", guard / "__main__.py")
    for module in ("disk", "slots", "guard"):
        shutil.copy(CHECKOUT / f"agent/update/{module}.py", guard / "agent/update")
    (opt / "guard").symlink_to(guard.name)
    shutil.copy(CHECKOUT / "systemd/start-delay", opt / "start-delay")


def put_release(ground: Ground, version: str, digest: str, changes: Mapping[str, str] | None = None) -> None:
    """Puts a release that was prepared into the box, as if it had been built there out of the bundle with this digest."""
    release = ground.box / "opt/signage-agent/releases" / version
    # Hard links: a release is never changed.
    subprocess.run(["cp", "-al", ground.kept(version), release], check=True)
    packages = next(release.glob("lib/*/site-packages"))
    for path, text in [(packages / name, text) for name, text in (changes or {}).items()] + [(release / MARKER, f"{digest}\n")]:
        path.unlink()
        path.write_text(text)


def put_up(ground: Ground) -> Path:
    """A fresh box with the old version installed; its root."""
    root = ground.box
    shutil.rmtree(root, ignore_errors=True)
    opt = root / "opt/signage-agent"
    for folder in (opt / "update", opt / "releases", root / "etc/signage-agent", root / "var/lib/signage-agent", root / "sys"):
        folder.mkdir(parents=True)
    put_release(ground, RUNNING, "0" * 64)
    (opt / "current").symlink_to(f"releases/{RUNNING}")
    put_guard(opt)
    return root


@contextlib.asynccontextmanager
async def open_estate(
    ground: Ground,
    screen: XServer,
    *,
    overrides: Mapping[str, Mapping[str, str | list[str]]] | None = None,
    probation_s: float = 60.0,
    update: str = "",
    serial: str = SERIAL,
) -> AsyncIterator[Estate]:
    """A box that is off, and the servers it knows. `overrides` are of unit files, `update` further keys of [update]."""
    root = put_up(ground)
    environment = {"DISPLAY": screen.display, "HOME": str(root)}
    merged = {unit: {**QUICK.get(unit, {}), **(overrides or {}).get(unit, {})} for unit in {**QUICK, **(overrides or {})}}
    async with SignageServer() as signage:
        server = SpeakerServer(hub=signage.hub)
        await signage.hub.stop()
        await signage.hub.start()  # with the routes of both
        picture = await asyncio.to_thread(still, root / "green.png", GREEN, SIZE)
        shown = item(signage.media.add("green.png", picture), duration_s=600.0)
        signage.offer([playlist(1, [shown], width=SIZE[0], height=SIZE[1])])
        async with Systemd(root, overrides=merged, rewrite=rewriting(root), environment=environment) as systemd:
            estate = Estate(ground, root, screen, signage, server, systemd)
            estate.configure(probation_s=probation_s, update=update, serial=serial)
            yield estate
