"""Puts a device together from its settings and runs it until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import __version__
from agent.control.door import ControlError, TakenError as SocketTakenError, first_client, listen
from agent.hardware.displays import Displays
from agent.hardware.forced_reboot import ForcedReboot
from agent.reload import Configuration
from agent.screen.proxy import Screen
from agent.settings import Screen as ScreenSettings, Settings, SettingsError, load_settings
from agent.system import clock, logs
from agent.system.child import Child
from agent.system.heap import give_back, limit_arenas
from agent.system.lean import keep_libraries_lean
from agent.system.lock import Lock, TakenError
from agent.system.notify import Notifier
from agent.system.state import State, StateError

if TYPE_CHECKING:
    from agent.control.running import RunningAgent
    from agent.links.supervisor import LinkSupervisor

log = logging.getLogger(__name__)

EXIT_CONFIGURATION = 78
"""EX_CONFIG of sysexits.h."""
SETTLE_S = 10.0
"""A screen that has neither presented a picture nor been found down by then does not keep the box from starting."""
END_S = 1.6
"""From the signal to the end of everything; the rest of the 2 s is for the interpreter."""


def run(config: Path | None, overrides: Mapping[str, Any] | None = None, spare: Child | None = None) -> int:
    """Runs the agent, its first screen with the worker `spare`.

    Returns the exit code: 0 after SIGTERM or SIGINT, 78 if the configuration is faulty.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what is read from here on is new enough
    try:
        settings = load_settings(config, overrides or {})
    except SettingsError as error:
        for fault in error.faults:
            sys.stderr.write(("<3>" if "JOURNAL_STREAM" in os.environ else "") + fault + "\n")
        return EXIT_CONFIGURATION
    logs.setup(settings.log.level)
    limit_arenas(1)
    keep_libraries_lean(os.environ)
    daemon = Daemon(settings, lambda: load_settings(config, overrides or {}), spare)
    code = 0
    try:
        asyncio.run(daemon.run())
    except* (StateError, TakenError, SocketTakenError) as errors:
        log.critical("%s", _first(errors))
        code = 1
    if daemon.configuration.outdated and not code:
        start_again()
    return code


def start_again() -> None:
    """Becomes a fresh start in the same process: systemd goes on watching it."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line


class Daemon:
    """One run of the agent with one configuration. `reload` reads it anew or raises SettingsError."""

    def __init__(self, settings: Settings, reload: Callable[[], Settings], spare: Child | None = None) -> None:
        self._started_at = time.monotonic()
        self._spare = spare
        self._notifier = Notifier()
        self._ending = asyncio.Event()
        self._assembled = asyncio.Event()
        self._agent: RunningAgent | None = None
        self._links: LinkSupervisor | None = None
        self._runtime_dir = settings.control.socket.parent
        # The disk may be what is wrong: then only the runtime directory can be written.
        self._forced_reboot = ForcedReboot(settings.hardware.reboot_command, (settings.device.state_dir, self._runtime_dir))
        self.configuration = Configuration(settings, reload, self._notifier, self._ending.set)

    async def run(self) -> None:
        """Runs until SIGTERM or SIGINT, or until a changed configuration needs a fresh start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        loop.add_signal_handler(signal.SIGHUP, self.configuration.hang_up)
        log.info("signage-agent starts version=%s", __version__)
        living = asyncio.create_task(self._live(), name="daemon")
        ending = asyncio.create_task(self._ending.wait(), name="daemon: waits for its end")
        await asyncio.wait({living, ending}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            ending.cancel()
            await living
            return
        if not self.configuration.outdated:
            self._notifier.stopping()
        log.info("signage-agent ends")
        await self._end(living)
        if self.configuration.outdated:
            # Ignoring survives the fresh start: until that listens itself, another SIGHUP must not be the end.
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def _end(self, living: asyncio.Task[None]) -> None:
        """Ends everything within the time there is, with the state on disk."""
        deadline = asyncio.get_running_loop().time() + END_S
        with contextlib.suppress(StateError, TimeoutError):
            async with asyncio.timeout_at(deadline - END_S * 3 / 4):
                if self._links is not None:
                    await self._links.save()
        living.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await asyncio.wait({living})
        if not living.done():
            log.warning("not everything ended in time; what is left is ended by force")
            logging.shutdown()
            if self.configuration.outdated:
                start_again()
            os._exit(0)

    async def _live(self) -> None:
        settings = self.configuration.settings
        for directory in (settings.device.state_dir, self._runtime_dir):
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StateError(f"directory cannot be made: path={directory} error={error.strerror}") from None
        lock = Lock(settings.device.state_dir / "lock")
        lock.take()
        listener = _listen(settings.control.socket)
        state = await State.open(settings.device.state_dir / "state.db")
        try:
            async with asyncio.TaskGroup() as tasks:
                if listener is not None:
                    tasks.create_task(self._serve_control(listener), name="control")
                tasks.create_task(self._notifier.feed_watchdog(), name="watchdog")
                tasks.create_task(self._forced_reboot.run(), name="forced reboot")
                screens, displays = await self._start_screens(tasks)
                agent = await self._start(state, screens, displays, tasks)
                self._assembled.set()
                await _presented(agent)
                self._notifier.ready()
                agent.device.updates.ready()
                self._changed()
                log.info("ready warm_s=%.2f", time.monotonic() - self._started_at)
                await asyncio.get_running_loop().create_future()
        finally:
            if self._agent is not None:
                await self._agent.device.media.close()
            await state.close()
            if listener is not None:
                listener.close()
                settings.control.socket.unlink(missing_ok=True)
            lock.release()

    async def _start_screens(self, tasks: asyncio.TaskGroup) -> tuple[dict[str, Screen], Displays]:
        """Before everything else: their processes take longest, and the rest loads meanwhile."""
        settings = self.configuration.settings
        displays = Displays(settings.hardware.sysfs)
        tasks.create_task(displays.run(), name="displays")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await displays.started()
        screens: dict[str, Screen] = {}
        for name, screen_settings in settings.screens.items():
            screen = screens[name] = Screen(
                name,
                screen_settings.output,
                _worker_arguments(name, screen_settings),
                displays,
                on_stuck=self._forced_reboot.demand,
                on_hang=self._hung,
                spare=None if screens else self._spare,
            )
            screen.stage.order = tuple(link.name for link in settings.links)
            screen.on_change(self._changed)
            tasks.create_task(screen.run(), name=f"screen {name}")
        return screens, displays

    async def _start(
        self, state: State, screens: Mapping[str, Screen], displays: Displays, tasks: asyncio.TaskGroup
    ) -> RunningAgent:
        settings = self.configuration.settings
        await asyncio.to_thread(_load, {link.kind for link in settings.links})
        from agent.control.clips import Clips  # noqa: PLC0415 - see `_load`
        from agent.control.running import RunningAgent  # noqa: PLC0415
        from agent.device import assemble  # noqa: PLC0415
        from agent.hardware.health import Health  # noqa: PLC0415
        from agent.links.supervisor import LinkSupervisor  # noqa: PLC0415

        device = await assemble(settings, state, screens, displays, self._forced_reboot.demand)
        links = self._links = LinkSupervisor(device, tasks, self._changed)
        health = Health(state, sysfs=settings.hardware.sysfs)
        clips = Clips(device, settings.device.state_dir / "clips")
        agent = self._agent = RunningAgent(device, links, health, clips, self._started_at)
        device.updates.bind(lambda: links, self._ending.set)
        for link in settings.links:
            links.start(link)
        await clips.sweep()
        for part in (device.volume, device.brightness, device.name, device.voice, device.camera, device.updates, health):
            part.on_change(self._changed)
        for what, work in (
            ("volume", device.volume.run()),
            ("brightness", device.brightness.run()),
            ("voice", device.voice.run()),
            ("camera", device.camera.run()),
            ("updates", device.updates.run()),
            ("media store", device.media.run()),
            ("health", health.run()),
            ("clips", clips.run()),
            ("clock", clock.ClockWatch(links.clock_set).run()),
            ("configuration", self.configuration.run(device.media, links)),
            ("heap", give_back()),
        ):
            tasks.create_task(work, name=what)
        return agent

    async def _serve_control(self, listener: socket.socket) -> None:
        await first_client(listener)
        await self._assembled.wait()
        await asyncio.to_thread(importlib.import_module, "agent.control.server")
        from agent.control.server import ControlServer  # noqa: PLC0415 - see `agent.control.door`

        assert self._agent is not None
        settings = self.configuration.settings
        server = ControlServer(self._agent, settings.control.socket, play_limit_bytes=settings.media.quota)
        try:
            await server.start(listener)
            await asyncio.get_running_loop().create_future()
        finally:
            await server.close()

    def _changed(self) -> None:
        if self._agent is not None:
            self._notifier.status(self._agent.sentence())
            self._agent.changed()

    def _hung(self) -> None:
        """A player was held up, perhaps by a sound server that hangs: films go on silently until it answers."""
        if self._agent is not None:
            self._agent.device.volume.suspect()


def _listen(path: Path) -> socket.socket | None:
    """The control socket. Without it the box still plays, but not beside another agent: raises `door.TakenError`."""
    try:
        return listen(path)
    except SocketTakenError:
        raise
    except ControlError as error:
        log.error("%s", error)  # noqa: TRY400 - a sentence, not a fault of ours
        return None


def _worker_arguments(name: str, screen: ScreenSettings) -> list[str]:
    arguments = ["--name", name, "--output", screen.output, "--mode", screen.mode, "--rotate", str(screen.rotate)]
    arguments += ["--hwdec", screen.hwdec, "--sound" if screen.sound else "--no-sound"]
    if screen.window:
        arguments += ["--window", screen.window]
    if screen.idle_image:
        arguments += ["--idle-image", str(screen.idle_image)]
    return arguments


async def _presented(agent: RunningAgent) -> None:
    """Waits until each screen presents a picture or is known to be down, no longer than 10 s."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            await asyncio.gather(*(screen.settled() for screen in agent.device.screens.values()))


def _load(kinds: set[str]) -> None:
    """Imports the rest of the daemon; not in the event loop, which brings up the screens meanwhile."""
    from agent.control import running  # noqa: F401, PLC0415
    from agent.links import registry, supervisor  # noqa: F401, PLC0415

    registry.load(kinds)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
