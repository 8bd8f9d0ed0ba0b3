"""What runs under the stand-in for systemd: services, timers and paths (tests/systemd_stand_in.py)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.systemd_units import Command, UnitFile

if TYPE_CHECKING:
    from tests.systemd_stand_in import Systemd

STOP_S = 90.0
"""DefaultTimeoutStopSec and -StartSec."""
CLEAN_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE}
EXITED, KILLED = 1, 2
"""CLD_ of waitid(2)."""
Words = asyncio.Queue[tuple[int, str]]
"""What sd_notify(3) was told, with the id of who said it."""


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

    async def job(self, verb: str) -> None:
        """start, stop, restart or try-restart."""
        if verb == "try-restart" and self.active_state not in ("active", "activating"):
            return
        if verb != "start":
            await self.stop()
        if verb != "stop":
            await self.start()

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
        self._sessions: set[int] = set()
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

    async def gone(self) -> None:
        """As Unit."""
        await super().gone()
        self._kill_group()
        if self._readers:
            await asyncio.wait(self._readers)

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
            self.systemd.changed()
            result = await self._watch(process, words, limit_s)
        self._kill_group()
        self._note_end(process)
        code = process.returncode
        assert code is not None
        if code == -signal.SIGKILL and not result and not self._cut:
            self.systemd.died.add(self.file.name)
        if not result:
            result = "success" if code == 0 or -code in CLEAN_SIGNALS else "signal" if code < 0 else "exit-code"
        if result != "success":
            self.systemd.log("init", 1, f"<5>{self.file.name}: process {process.pid} ended with {code}, result {result}")
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

    async def _watch(self, process: asyncio.subprocess.Process, words: Words | None, limit_s: float) -> str:
        """Waits for the end of the main process; what it was ended for, empty if it ended by itself."""
        watchdog_s = self.seconds("WatchdogSec", 0.0)
        loop = asyncio.get_running_loop()
        deadline: float | None = loop.time() + limit_s
        ending = asyncio.create_task(process.wait(), name=f"{self.file.name}: end")
        hearing: asyncio.Task[tuple[int, str]] | None = None
        try:
            while not ending.done():
                if words is not None and hearing is None:
                    hearing = asyncio.create_task(words.get(), name=f"{self.file.name}: words")
                waited = {ending} | ({hearing} if hearing else set())
                left_s = None if deadline is None else max(0.0, deadline - loop.time())
                done, _ = await asyncio.wait(waited, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    ready = self.active_state == "active"
                    why = "watchdog" if ready else "timeout"
                    await self._terminate(signal.SIGABRT if ready else signal.SIGTERM)
                    return why
                word = ""
                if hearing is not None and hearing in done:
                    (sender, word), hearing = hearing.result(), None
                    if sender != process.pid:
                        continue  # NotifyAccess=main
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
            for task in (ending, hearing):
                if task is not None:
                    task.cancel()

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
        """What a control group would hold: everything with our INVOCATION_ID, or of a session that we have begun."""
        mark = f"INVOCATION_ID={self._invocation}".encode()
        for path in Path("/proc").glob("[0-9]*") if self._sessions else ():
            with contextlib.suppress(OSError):
                session = int((path / "stat").read_text().rpartition(")")[2].split()[3])
                if session in self._sessions or mark in (path / "environ").read_bytes().split(b"\0"):
                    os.kill(int(path.name), signal.SIGKILL)
        self._sessions.clear()

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
        self._sessions.add(process.pid)
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
    def _listener(self, environment: dict[str, str]) -> Iterator[Words]:
        """A socket for sd_notify(3) that believes the main process only (NotifyAccess=main)."""
        words: Words = asyncio.Queue()
        address = self.systemd.programs / self.file.name.replace(".service", ".n")  # a short name: paths of sockets are bounded
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
            for word in data.decode(errors="replace").splitlines():
                words.put_nowait((sender, word))

        loop = asyncio.get_running_loop()
        loop.add_reader(ours, hear)
        try:
            yield words
        finally:
            loop.remove_reader(ours)
            ours.close()
