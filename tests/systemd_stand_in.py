"""A small stand-in for systemd as PID 1: runs the real unit files of systemd/, with every path below a folder.

It does what those files rely on: ExecStartPre and ExecStopPost, Type=notify with READY, STOPPING and the watchdog, Restart= and
RestartSec=, the time limits, KillMode=mixed, the directories, .path and .timer units, and `systemctl` and `journalctl` as
programs on the PATH of everything it starts. It does not do sandboxes, users and dependencies. Imports nothing of the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.systemd_running import PathWatch, Service, Timer, Unit
from tests.systemd_units import read

UNITS = Path(__file__).resolve().parent.parent / "systemd"
_PLACES = re.compile(r"/(?:opt|etc|var/lib|var/cache|run)/signage-agent")
_PROGRAM = """#!{python} -ISB
import json, socket, sys
with socket.socket(socket.AF_UNIX) as manager:
    manager.connect({socket!r})
    manager.sendall(json.dumps([{name!r}, *sys.argv[1:]]).encode() + b"\\n")
    answer = json.loads(manager.makefile().readline())
sys.stdout.write(answer["out"])
sys.exit(answer["code"])
"""


@dataclass(frozen=True)
class Entry:
    """A line in the journal. `priority` as of syslog."""

    unit: str
    pid: int
    priority: int
    text: str
    boot: int
    at: float
    """Wall clock."""


class Systemd:
    """PID 1 of a box whose files are below `folder`. `boot` it, `cut` its power, `shut_down`; again and again.

    `overrides`: unit → key → value, as drop-ins: shorter times, another command. `rewrite` is given each command line before it
    runs. `environment` is what DefaultEnvironment= would be.
    """

    def __init__(
        self,
        folder: Path,
        *,
        overrides: Mapping[str, Mapping[str, str | list[str]]] | None = None,
        rewrite: Callable[[list[str]], list[str]] = list,
        environment: Mapping[str, str] | None = None,
        units: Path = UNITS,
    ) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.programs = folder / "programs"
        """systemctl and journalctl."""
        self.boot_id = folder / "boot_id"
        self.overrides = {unit: dict(keys) for unit, keys in (overrides or {}).items()}
        self.environment = dict(environment or {})
        self.journal: list[Entry] = []
        """Of all boots."""
        self.boots = 0
        self.units: dict[str, Unit] = {}
        self.died: set[str] = set()
        """Units whose main process got a SIGKILL that is not from here: a power cut that a test arranged."""
        self._directory = units
        self._rewrite = rewrite
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def boot(self) -> None:
        """Starts what is wanted by multi-user.target; returns at once."""
        self.boots += 1
        self.died.clear()
        shutil.rmtree(self.run, ignore_errors=True)
        self.run.mkdir(parents=True)
        self.programs.mkdir(exist_ok=True)
        self.boot_id.write_text(f"{uuid.uuid4()}\n")
        manager = self.programs / "manager"
        manager.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, manager)
        for name in ("systemctl", "journalctl"):
            program = self.programs / name
            program.write_text(_PROGRAM.format(python="/usr/bin/python3", socket=str(manager), name=name))
            program.chmod(0o755)
        self.load()
        for unit in self.units.values():
            if unit.file.get("Install", "WantedBy") == "multi-user.target":
                await unit.start()

    def load(self) -> None:
        """Reads the unit files."""
        kinds = {"service": Service, "timer": Timer, "path": PathWatch}
        for path in sorted(self._directory.glob("*.*")):
            if kind := kinds.get(path.suffix[1:]):
                self.units[path.name] = kind(self, read(path, self.overrides.get(path.name)))

    async def cut(self) -> None:
        """The power is cut: everything dies at once, and /run is lost. A box that is off stays as it is."""
        for unit in self.units.values():
            unit.kill()
        for unit in self.units.values():
            await unit.gone()
        self.units.clear()
        await self._close()
        shutil.rmtree(self.run, ignore_errors=True)

    async def shut_down(self) -> None:
        """Ends everything in order, as before a reboot."""
        for unit in reversed(self.units.values()):
            await unit.stop()
        await self.cut()

    def unit(self, name: str) -> Unit:
        """By its name, with or without .service. Raises KeyError."""
        return self.units[name if "." in name else f"{name}.service"]

    def service(self, name: str = "signage-agent.service") -> Service:
        """A service by its name."""
        unit = self.unit(name)
        assert isinstance(unit, Service)
        return unit

    async def wait_for(self, condition: Callable[[], Any], deadline_s: float = 60.0) -> None:
        """Waits for a state of the units or a line in the journal. Raises AssertionError with the journal's end."""
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            states = {name: f"{unit.active_state} {unit.sub_state}" for name, unit in self.units.items()}
            raise AssertionError(f"not within {deadline_s:g} s; {states}\n{self.text()[-6000:]}") from None

    def text(self, *units: str) -> str:
        """The journal, of these units or all."""
        return "".join(
            f"{entry.unit.removesuffix('.service')}[{entry.pid}]: <{entry.priority}>{entry.text}\n"
            for entry in self.journal
            if not units or entry.unit in units
        )

    # For the units

    def log(self, unit: str, pid: int, line: str) -> None:
        """A line of output, which may begin with its priority, as `<4>`."""
        match = re.match(r"<([0-7])>", line)
        priority, text = (int(match[1]), line[match.end() :]) if match else (6, line)
        self.journal.append(Entry(unit, pid, priority, text, self.boots, time.time()))
        self.changed()

    def changed(self) -> None:
        """Something has."""
        self._changed.set()

    def placed(self, text: str) -> str:
        """With the folder before each path of the box."""
        return _PLACES.sub(lambda match: f"{self.folder}{match[0]}", text)

    def command(self, words: Sequence[str]) -> list[str]:
        """As it is run here."""
        return self._rewrite([self.placed(word) for word in words])

    # systemctl and journalctl

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            program, *arguments = json.loads(await reader.readline())
            code, out = self._journalctl(arguments) if program == "journalctl" else await self._systemctl(arguments)
            writer.write(json.dumps({"code": code, "out": out}).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _systemctl(self, arguments: list[str]) -> tuple[int, str]:
        options = [one for one in arguments if one.startswith("-")]
        words = [one for one in arguments if not one.startswith("-")]
        if "--property" in options:  # its value is a word of its own
            options.append(f"--property={words.pop(1)}")
        verb, names = words[0], words[1:]
        if any(name not in self.units and f"{name}.service" not in self.units for name in names):
            return 5, f"Unit {names} not found.\n"
        units = [self.unit(name) for name in names]
        if verb == "show":
            wanted = next(one.partition("=")[2] for one in options if "=" in one).split(",")
            lines = [(key, unit.properties().get(key, "")) for unit in units for key in wanted]
            return 0, "".join(f"{value}\n" if "--value" in options else f"{key}={value}\n" for key, value in lines)
        if verb == "is-active":
            states = [unit.active_state for unit in units]
            return (0 if "active" in states else 3), "".join(f"{state}\n" for state in states)
        if verb not in ("start", "stop", "restart", "try-restart"):
            return 1, f"Unknown command verb {verb}\n"
        for unit in units:
            job = asyncio.create_task(unit.job(verb), name=f"systemctl {verb} {unit.file.name}")
            unit.jobs.add(job)
            job.add_done_callback(unit.jobs.discard)
            if "--no-block" not in options:
                await asyncio.wait({job})
        return 0, ""

    def _journalctl(self, arguments: list[str]) -> tuple[int, str]:
        values = dict(one.split("=", 1) for one in arguments if "=" in one)
        lines = [
            entry.text
            for entry in self.journal
            if values.get("_PID", str(entry.pid)) == str(entry.pid)
            and values.get("_SYSTEMD_UNIT", entry.unit) == entry.unit
            and (entry.boot == self.boots or "--boot" not in arguments)
            and entry.at >= float(values.get("--since", "@0").removeprefix("@"))
        ]
        return 0, "".join(f"{line}\n" for line in lines[-int(values.get("--lines", "10")) :])

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
