"""A small stand-in for systemd as PID 1: runs the real unit files of systemd/, with every path below a folder.

It does what those files rely on: ExecStartPre and ExecStopPost, Type=notify with READY, STOPPING and the watchdog, Restart= and
RestartSec=, the time limits, KillMode=mixed, the directories, .path and .timer units, and `systemctl` and `journalctl` as programs
on the PATH of everything it starts. It does not do sandboxes, users and dependencies. Imports nothing of the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.systemd_units import Command, UnitFile, read

UNITS = Path(__file__).resolve().parent.parent / "systemd"
STOP_S = 90.0
"""DefaultTimeoutStopSec and -StartSec."""
CLEAN_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE}
EXITED, KILLED = 1, 2
"""CLD_ of waitid(2)."""
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


class Systemd:
    """PID 1 of a box whose files are below `folder`. `boot` it, `cut` its power, `shut_down`; again and again.

    `overrides`: unit → key → value, as drop-ins: shorter times, another command. `rewrite` is given each command line before it
    runs. `environment` is what DefaultEnvironment= would be.
    """

    def __init__(
        self,
        folder: Path,
        *,
        overrides: Mapping[str, Mapping[str, str]] | None = None,
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
        self.journal.append(Entry(unit, pid, int(match[1]) if match else 6, line[match.end() :] if match else line))
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
            job = asyncio.create_task(_job(unit, verb), name=f"systemctl {verb} {unit.file.name}")
            unit.jobs.add(job)
            job.add_done_callback(unit.jobs.discard)
            if "--no-block" not in options:
                await asyncio.wait({job})
        return 0, ""

    def _journalctl(self, arguments: list[str]) -> tuple[int, str]:
        values = dict(one.split("=", 1) for one in arguments if "=" in one)
        pid = int(values.get("_PID", "0"))
        lines = [entry.text for entry in self.journal if not pid or entry.pid == pid]
        return 0, "".join(f"{line}\n" for line in lines[-int(values.get("--lines", "10")) :])

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


async def _job(unit: Unit, verb: str) -> None:
    if verb == "try-restart" and unit.active_state not in ("active", "activating"):
        return
    if verb != "start":
        await unit.stop()
    if verb != "stop":
        await unit.start()


class Unit:
    """What all units have."""

    def __init__(self, systemd: Systemd, file: UnitFile) -> None:
        self.systemd = systemd
        self.file = file
        self.active_state = "inactive"
        self.sub_state = "dead"
        self.starts = 0
        """Runs so far in this boot."""
        self.jobs: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether it runs, or is about to."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Starts it unless it runs."""
        if not self.busy:
            self._task = asyncio.create_task(self._live(), name=self.file.name)
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """Ends it in order."""
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})
        self.becomes("inactive", "dead")

    def kill(self) -> None:
        """Ends it at once."""
        for job in self.jobs:
            job.cancel()
        if self._task is not None:
            self._task.cancel()

    async def gone(self) -> None:
        """Waits for the end after `kill`."""
        tasks = [*self.jobs, *([self._task] if self._task else [])]
        if tasks:
            await asyncio.wait(tasks)
        if self._task is not None and not self._task.cancelled() and (error := self._task.exception()):
            raise error

    def becomes(self, active: str, sub: str) -> None:
        """Another state."""
        self.active_state, self.sub_state = active, sub
        self.systemd.changed()

    def properties(self) -> dict[str, Any]:
        """What `systemctl show` knows."""
        return {"ActiveState": self.active_state, "SubState": self.sub_state}

    async def _live(self) -> None:
        raise NotImplementedError


class Timer(Unit):
    """OnActiveSec, OnUnitActiveSec."""

    async def _live(self) -> None:
        seconds = self.file.seconds("Timer", "OnActiveSec", 0.0)
        service = self.systemd.unit(self.file.name.removesuffix(".timer") + ".service")
        while True:
            self.becomes("active", "waiting")
            # As late as it may be.
            await asyncio.sleep(seconds + self.file.seconds("Timer", "AccuracySec", 60.0))
            self.becomes("active", "running")
            await service.start()
            begun = asyncio.get_running_loop().time()
            while service.busy:
                await asyncio.sleep(0.01)
            seconds = self.file.seconds("Timer", "OnUnitActiveSec", 0.0) - (asyncio.get_running_loop().time() - begun)


class PathWatch(Unit):
    """PathExistsGlob. Triggered again when the service has ended and the path is there still."""

    async def _live(self) -> None:
        service = self.systemd.unit(self.file.name.removesuffix(".path") + ".service")
        pattern = self.systemd.placed(self.file.get("Path", "PathExistsGlob"))
        directory, _, names = pattern.rpartition("/")
        while True:
            self.becomes("active", "waiting")
            if not service.busy and any(Path(directory).glob(names)):
                self.becomes("active", "running")
                await service.start()
            await asyncio.sleep(0.02)


class Service(Unit):
    """Type=notify and Type=oneshot."""

    def __init__(self, systemd: Systemd, file: UnitFile) -> None:
        super().__init__(systemd, file)
        self.restarts = 0
        self.result = "success"
        self.main_pid = 0
        self.ended: tuple[int, int, int] = (0, 0, 0)
        """The last main process: its id, CLD_ code, and status."""
        self.pids: list[int] = []
        """The main processes of this boot."""
        self._invocation = ""
        self._process: asyncio.subprocess.Process | None = None
        self._readers: set[asyncio.Task[None]] = set()
        self._cut = False

    async def start(self) -> None:
        """As Unit."""
        if not self.busy:
            self.restarts = 0
        await super().start()

    def kill(self) -> None:
        """As Unit."""
        self._cut = True
        self._kill_group()
        super().kill()

    def properties(self) -> dict[str, Any]:
        """As Unit."""
        pid, code, status = self.ended
        main = {"MainPID": self.main_pid, "ExecMainPID": self.main_pid or pid, "NRestarts": self.restarts, "Result": self.result}
        # Of a process that runs the code is 0.
        return super().properties() | main | {"ExecMainCode": 0 if self.main_pid else code, "ExecMainStatus": status}

    def seconds(self, key: str, default: float) -> float:
        """A span of time of the unit."""
        return self.file.seconds("Service", key, default)

    async def _live(self) -> None:
        try:
            while True:
                self.result = await self._run()
                await self._after()
                restart = self.file.get("Service", "Restart", "no")
                if restart == "no" or (restart == "on-failure" and self.result == "success"):
                    self.becomes("inactive" if self.result == "success" else "failed", "dead")
                    return
                self.becomes("activating", "auto-restart")
                await asyncio.sleep(self.seconds("RestartSec", 0.1))
                self.restarts += 1
        except asyncio.CancelledError:
            if not self._cut:
                self.becomes("deactivating", "stop-sigterm")
                await self._terminate(signal.SIGTERM)
                self._note_end(self._process)
                await self._after()
            if self.file.get("Service", "RuntimeDirectoryPreserve") != "yes":
                for name in self.file.get("Service", "RuntimeDirectory").split():
                    shutil.rmtree(self.systemd.run / name, ignore_errors=True)
            raise

    async def _run(self) -> str:
        """One run; its result."""
        self.starts += 1
        self._invocation = uuid.uuid4().hex
        environment = self._environment()
        limit_s = self.seconds("TimeoutStartSec", STOP_S)
        self.becomes("activating", "start-pre")
        for command in self.file.commands("ExecStartPre"):
            result = await self._run_before(command, environment, limit_s)
            if result != "success" and not command.forgiven:
                return result
        self.becomes("activating", "start")
        notify = self.file.get("Service", "Type") == "notify"
        with self._listener(environment) if notify else contextlib.nullcontext(None) as words:
            process = await self._spawn(self.file.commands("ExecStart")[0], environment)
            self.main_pid = process.pid
            self.pids.append(process.pid)
            result = await self._watch(process, words, limit_s)
        self._kill_group()
        self._note_end(process)
        code = process.returncode
        assert code is not None
        if code == -signal.SIGKILL and not result and not self._cut:
            self.systemd.died.add(self.file.name)
        if not result:
            result = "success" if code == 0 or -code in CLEAN_SIGNALS else "signal" if code < 0 else "exit-code"
        self.systemd.log("init", 1, f"{self.file.name}: process {process.pid} ended with {code}, result {result}")
        return result

    def _note_end(self, process: asyncio.subprocess.Process | None) -> None:
        """Of the main process."""
        if process is not None and process.pid == self.main_pid and process.returncode is not None:
            code = process.returncode
            self.ended = (process.pid, KILLED if code < 0 else EXITED, abs(code))
            self.main_pid = 0

    async def _after(self) -> None:
        """ExecStopPost, which is told how the main process ended."""
        pid, code, status = self.ended
        said = {
            "SERVICE_RESULT": self.result,
            "EXIT_CODE": {EXITED: "exited", KILLED: "killed"}.get(code, ""),
            "EXIT_STATUS": signal.Signals(status).name.removeprefix("SIG") if code == KILLED else str(status),
        }
        for command in self.file.commands("ExecStopPost"):
            process = await self._spawn(command, self._environment() | (said if pid else {}))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.seconds("TimeoutStopSec", STOP_S)):
                    await process.wait()
            self._kill_group()

    async def _run_before(self, command: Command, environment: Mapping[str, str], limit_s: float) -> str:
        process = await self._spawn(command, environment)
        try:
            async with asyncio.timeout(limit_s):
                code = await process.wait()
        except TimeoutError:
            await self._terminate(signal.SIGTERM)
            return "timeout"
        if code == -signal.SIGKILL and not self._cut:
            self.systemd.died.add(self.file.name)
        self._kill_group()
        return "success" if code == 0 else "exit-code"

    async def _watch(self, process: asyncio.subprocess.Process, words: asyncio.Queue[str] | None, limit_s: float) -> str:
        """Waits for the end of the main process; what it was ended for, empty if it ended by itself."""
        watchdog_s = self.seconds("WatchdogSec", 0.0)
        loop = asyncio.get_running_loop()
        deadline: float | None = loop.time() + limit_s
        ending = asyncio.create_task(process.wait(), name=f"{self.file.name}: end")
        try:
            while not ending.done():
                hearing = asyncio.create_task(words.get() if words else asyncio.Event().wait(), name=f"{self.file.name}: words")
                left_s = None if deadline is None else max(0.0, deadline - loop.time())
                done, _ = await asyncio.wait({ending, hearing}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if hearing not in done:
                    hearing.cancel()
                if not done:
                    ready = self.active_state == "active"
                    why = "watchdog" if ready else "timeout"
                    self.systemd.log("init", 1, f"{self.file.name}: {why}")
                    await self._terminate(signal.SIGABRT if ready else signal.SIGTERM)
                    return why
                word = hearing.result() if hearing in done else ""
                if word == "READY=1" and self.active_state != "active":
                    self.becomes("active", "running")
                    deadline = loop.time() + watchdog_s if watchdog_s else None
                elif word == "WATCHDOG=1" and self.active_state == "active" and watchdog_s:
                    deadline = loop.time() + watchdog_s
                elif word == "STOPPING=1":
                    self.becomes("deactivating", "stop-sigterm")
                    deadline = loop.time() + self.seconds("TimeoutStopSec", STOP_S)
            return ""
        finally:
            ending.cancel()

    async def _terminate(self, number: signal.Signals) -> None:
        """The signal for the main process; after TimeoutStopSec, and for its children then, SIGKILL."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.seconds("TimeoutStopSec", STOP_S)):
                    await process.wait()
        self._kill_group()
        if process is not None:
            await process.wait()

    def _kill_group(self) -> None:
        """What a control group would hold: everything with our INVOCATION_ID."""
        mark = f"INVOCATION_ID={self._invocation}".encode()
        for path in Path("/proc").glob("[0-9]*/environ") if self._invocation else ():
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    os.kill(int(path.parent.name), signal.SIGKILL)

    async def _spawn(self, command: Command, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        reading, writing = os.pipe()
        found = os.fstat(writing)
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self.systemd.command(command.words),
                stdin=asyncio.subprocess.DEVNULL, stdout=writing, stderr=writing, cwd="/", start_new_session=True,
                env={**environment, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"},
            )  # fmt: skip
        finally:
            os.close(writing)
        reader = asyncio.create_task(self._read(reading, process.pid), name=f"{self.file.name}: journal")
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        return process

    async def _read(self, descriptor: int, pid: int) -> None:
        stream = asyncio.StreamReader(limit=1 << 20)
        pipe = os.fdopen(descriptor, "rb", 0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
        try:
            while line := await stream.readline():
                self.systemd.log(self.file.name, pid, line.decode(errors="replace").rstrip("\n"))
        finally:
            transport.close()

    def _environment(self) -> dict[str, str]:
        """And the directories it names."""
        systemd = self.systemd
        environment = {
            "PATH": f"{systemd.programs}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "INVOCATION_ID": self._invocation,
            **systemd.environment,
        }
        for line in self.file.all("Service", "Environment"):
            key, _, value = systemd.placed(line).partition("=")
            environment[key] = value
        for kind, where in (("Runtime", "run"), ("State", "var/lib"), ("Cache", "var/cache")):
            for name in self.file.get("Service", f"{kind}Directory").split():
                path = systemd.folder / where / name
                path.mkdir(parents=True, exist_ok=True)
                environment[f"{kind.upper()}_DIRECTORY"] = str(path)
        if credentials := self.file.get("Service", "LoadCredential"):
            name, _, source = systemd.placed(credentials).partition(":")
            folder = systemd.run / "credentials" / self.file.name
            folder.mkdir(parents=True, exist_ok=True)
            for path in Path(source).glob("*"):
                shutil.copy(path, folder / f"{name}_{path.name}")
            environment["CREDENTIALS_DIRECTORY"] = str(folder)
        return environment

    @contextlib.contextmanager
    def _listener(self, environment: dict[str, str]) -> Any:
        """A socket for sd_notify(3) that believes the main process only (NotifyAccess=main)."""
        words: asyncio.Queue[str] = asyncio.Queue()
        address = self.systemd.programs / f"{self.file.name}.notify"
        address.unlink(missing_ok=True)
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        ours.bind(str(address))
        environment["NOTIFY_SOCKET"] = str(address)
        if watchdog_s := self.seconds("WatchdogSec", 0.0):
            environment["WATCHDOG_USEC"] = str(round(watchdog_s * 1e6))

        def hear() -> None:
            data, ancillary, _, _ = ours.recvmsg(4096, socket.CMSG_SPACE(12))
            sender = int.from_bytes(ancillary[0][2][:4], sys.byteorder) if ancillary else 0
            if sender == self.main_pid:
                for word in data.decode(errors="replace").splitlines():
                    words.put_nowait(word)

        loop = asyncio.get_running_loop()
        loop.add_reader(ours, hear)
        try:
            yield words
        finally:
            loop.remove_reader(ours)
            ours.close()
