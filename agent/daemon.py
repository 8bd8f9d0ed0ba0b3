"""Puts a device together from its settings and runs it until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import __version__
from agent.control.door import ControlError, TakenError as SocketTakenError, first_client, listen
from agent.hardware.displays import Displays
from agent.links.backoff import Backoff
from agent.screen.proxy import Screen
from agent.settings import Link as LinkSettings, Settings, SettingsError, load_settings
from agent.system import clock, logs
from agent.system.child import Child
from agent.system.heap import limit_arenas
from agent.system.lock import Lock, TakenError
from agent.system.notify import Notifier
from agent.system.state import State, StateError

if TYPE_CHECKING:
    from agent.control.clips import Clips
    from agent.device import Device
    from agent.hardware.health import Health
    from agent.links.link import Link

log = logging.getLogger(__name__)

EXIT_CONFIGURATION = 78
"""EX_CONFIG of sysexits.h."""
SETTLE_S = 10.0
"""A screen that has neither presented a picture nor been found down by then does not keep the box from starting."""
GUARD_SPREAD_S = 1.0
"""So soon is a link that broke off started again the first time."""
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
    daemon = Daemon(settings, lambda: load_settings(config, overrides or {}), spare)
    code = 0
    try:
        asyncio.run(daemon.run())
    except* (StateError, TakenError, SocketTakenError) as errors:
        log.critical("%s", _first(errors))
        code = 1
    if daemon.again and not code:
        start_again()
    return code


def start_again() -> None:
    """Becomes a fresh start in the same process: systemd goes on watching it."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line


def _load(kinds: set[str]) -> None:
    """Imports the rest of the daemon; not in the event loop, which brings up the screens meanwhile."""
    from agent import device  # noqa: F401, PLC0415
    from agent.links import registry  # noqa: PLC0415

    registry.load(kinds)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _names(links: Sequence[LinkSettings]) -> tuple[str, ...]:
    return tuple(link.name for link in links)


def _is_of_today(stamp: Path) -> bool:
    try:
        return time.time() - stamp.stat().st_mtime < 86_400
    except OSError:
        return False


class Daemon:
    """One run of the agent with one configuration. `reload` reads the configuration anew or raises SettingsError."""

    def __init__(self, settings: Settings, reload: Callable[[], Settings], spare: Child | None = None) -> None:
        self.again = False
        """The configuration has changed in a way that needs a fresh start."""
        self.started_at = time.monotonic()
        self.settings = settings
        self.device: Device
        self.links: list[Link] = []
        self._link_tasks: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup
        self.health: Health
        self._clips: Clips
        self._reload = reload
        self._spare = spare
        self._notifier = Notifier()
        self._ending = asyncio.Event()
        self._hung_up = asyncio.Event()
        self._assembled = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._runtime_dir = settings.control.socket.parent

    async def run(self) -> None:
        """Runs until SIGTERM or SIGINT, or until a changed configuration needs a fresh start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up.set)
        log.info("signage-agent starts version=%s", __version__)
        living = asyncio.create_task(self._live(), name="daemon")
        ending = asyncio.create_task(self._ending.wait(), name="daemon: waits for its end")
        await asyncio.wait({living, ending}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            ending.cancel()
            await living
            return
        if not self.again:
            self._notifier.stopping()
        log.info("signage-agent ends")
        await self._end(living)
        if self.again:
            # Ignoring survives the fresh start: until that listens itself, another SIGHUP must not be the end.
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def _end(self, living: asyncio.Task[None]) -> None:
        """Ends everything within the time there is, with the state on disk."""
        deadline = asyncio.get_running_loop().time() + END_S
        with contextlib.suppress(StateError, TimeoutError):
            async with asyncio.timeout_at(deadline - END_S * 3 / 4):
                for link in self.links:
                    await link.save()
        living.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await asyncio.wait({living})
        if not living.done():
            log.warning("not everything ended in time; what is left is ended by force")
            logging.shutdown()
            if self.again:
                start_again()
            os._exit(0)

    async def _live(self) -> None:
        settings = self.settings
        for directory in (settings.device.state_dir, self._runtime_dir):
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StateError(f"directory cannot be made: path={directory} error={error.strerror}") from None
        lock = Lock(settings.device.state_dir / "lock")
        lock.take()
        listener = self._listen()
        state = await State.open(settings.device.state_dir / "state.db")
        try:
            async with asyncio.TaskGroup() as tasks:
                if listener is not None:
                    tasks.create_task(self._serve_control(listener), name="control")
                tasks.create_task(self._notifier.feed_watchdog(), name="watchdog")
                await self._start(state, tasks)
                await self._present()
                self._notifier.ready()
                self.device.updates.ready()
                self._tell()
                log.info("ready warm_s=%.2f", time.monotonic() - self.started_at)
                await asyncio.get_running_loop().create_future()
        finally:
            with contextlib.suppress(AttributeError):
                await self.device.media.close()
            await state.close()
            if listener is not None:
                listener.close()
                settings.control.socket.unlink(missing_ok=True)
            lock.release()

    def _listen(self) -> socket.socket | None:
        """The control socket. Without it the box still plays, but not beside another agent: raises `door.TakenError`."""
        try:
            return listen(self.settings.control.socket)
        except SocketTakenError:
            raise
        except ControlError as error:
            log.error("%s", error)  # noqa: TRY400 - a sentence, not a fault of ours
            return None

    async def _start(self, state: State, tasks: asyncio.TaskGroup) -> None:
        """Brings up one part after the other, the screens first: their processes take longest, and the rest loads meanwhile."""
        settings = self.settings
        self._tasks = tasks
        displays = Displays(settings.hardware.sysfs)
        tasks.create_task(displays.run(), name="displays")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await displays.started()
        first = next(iter(settings.screens))
        screens = {
            name: Screen(
                name,
                screen.output,
                self._worker_arguments(name),
                displays,
                on_stuck=self._stuck,
                on_hang=self._hung,
                spare=self._spare if name == first else None,
            )
            for name, screen in settings.screens.items()
        }
        for name, screen in screens.items():
            screen.stage.order = _names(settings.links)
            screen.on_change(self._changed)
            tasks.create_task(screen.run(), name=f"screen {name}")
        await asyncio.to_thread(_load, {link.kind for link in settings.links})
        from agent.control.clips import Clips  # noqa: PLC0415 - see above
        from agent.device import assemble  # noqa: PLC0415
        from agent.hardware.health import Health  # noqa: PLC0415

        self.device = await assemble(settings, state, screens, displays, self._stuck)
        self.device.updates.bind(lambda: self.links, self._ending.set)
        for link_settings in settings.links:
            self._start_link(link_settings)
        self.health = Health(state, sysfs=settings.hardware.sysfs)
        self._clips = Clips(self.device, settings.device.state_dir / "clips")
        await self._clips.sweep()
        for part in (
            self.device.volume,
            self.device.brightness,
            self.device.name,
            self.device.voice,
            self.device.camera,
            self.device.updates,
            self.health,
        ):
            part.on_change(self._changed)
        for what, work in (
            ("volume", self.device.volume.run()),
            ("brightness", self.device.brightness.run()),
            ("voice", self.device.voice.run()),
            ("camera", self.device.camera.run()),
            ("updates", self.device.updates.run()),
            ("media store", self.device.media.run()),
            ("health", self.health.run()),
            ("clips", self._clips.run()),
            ("clock", clock.ClockWatch(self._clock_set).run()),
            ("configuration", self._read_again_forever()),
        ):
            tasks.create_task(work, name=what)
        self._assembled.set()

    def _worker_arguments(self, name: str) -> list[str]:
        screen = self.settings.screens[name]
        arguments = ["--name", name, "--output", screen.output, "--mode", screen.mode, "--rotate", str(screen.rotate)]
        arguments += ["--hwdec", screen.hwdec, "--sound" if screen.sound else "--no-sound"]
        if screen.window:
            arguments += ["--window", screen.window]
        if screen.idle_image:
            arguments += ["--idle-image", str(screen.idle_image)]
        return arguments

    async def _present(self) -> None:
        """Waits until each screen presents a picture or is known to be down, no longer than 10 s."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await asyncio.gather(*(screen.settled() for screen in self.device.screens.values()))

    def _start_link(self, link_settings: LinkSettings, predecessor: Link | None = None) -> None:
        link = self._make_link(link_settings, predecessor)
        if link is not None:
            self.links.append(link)
            self._link_tasks[link.name] = self._tasks.create_task(self._guard(link, link_settings), name=f"link {link.name}")

    def _make_link(self, link_settings: LinkSettings, predecessor: Link | None) -> Link | None:
        """A link that takes over what its predecessor shows without a gap."""
        from agent.links.registry import make_link  # noqa: PLC0415 - see `_start`

        link = make_link(link_settings, self.device)
        if link is not None:
            link.predecessor = predecessor
            link.on_change(self._changed)
        elif predecessor is not None:
            predecessor.leave()
        return link

    async def _restart_links(self, before: Sequence[LinkSettings], after: Sequence[LinkSettings]) -> None:
        """Ends the links whose settings are gone or changed, starts the new and changed ones; the others never notice."""
        for screen in self.device.screens.values():
            screen.stage.order = _names(after)
        ended = [link for link in self.links if not any(link.name == kept.name for kept in after if kept in before)]
        left: dict[str, Link] = {}
        for link in ended:
            log.info("link ends: its configuration has changed link=%s", link.name)
            self.links.remove(link)
            with contextlib.suppress(StateError):
                await link.save()
            task = self._link_tasks.pop(link.name)
            task.cancel()
            await asyncio.wait({task})
            left[link.name] = link
        for link_settings in after:
            if link_settings not in before:
                self._start_link(link_settings, left.pop(link_settings.name, None))
        for link in left.values():
            link.leave()
        for screen in self.device.screens.values():
            screen.refresh()
        self._changed()

    async def _guard(self, link: Link, link_settings: LinkSettings) -> None:
        """A link that breaks off is made anew after a while; the others, and what it shows, go on."""
        backoff = Backoff(GUARD_SPREAD_S)
        loop = asyncio.get_running_loop()
        while True:
            begun_at = loop.time()
            try:
                await link.run()
            except Exception as error:
                log.exception("link broke off and is started again; the others go on link=%s", link.name)
                link.broke_off(error)
            backoff.lived(loop.time() - begun_at)
            await asyncio.sleep(backoff.wait_s())
            fresh = self._make_link(link_settings, link)
            if fresh is None:
                return
            self.links[self.links.index(link)] = fresh
            link = fresh
            self._changed()

    async def _serve_control(self, listener: socket.socket) -> None:
        await first_client(listener)
        await self._assembled.wait()
        await asyncio.to_thread(importlib.import_module, "agent.control.server")
        from agent.control.server import ControlServer  # noqa: PLC0415 - see `agent.control.door`

        server = ControlServer(self, self.settings.control.socket, play_limit_bytes=self.settings.media.quota)
        try:
            await server.start(listener)
            await asyncio.get_running_loop().create_future()
        finally:
            await server.close()

    # What parts of the device say

    def _clock_set(self) -> None:
        for link in self.links:
            if link.clock_fault:
                link.hurry()

    def _hung(self) -> None:
        """A player was held up, perhaps by a sound server that hangs: films go on silently until it answers."""
        if hasattr(self, "device"):
            self.device.volume.suspect()

    def _stuck(self) -> None:
        """A process that the kernel does not let go holds the hardware: only a restart of the box helps."""
        command = self.settings.hardware.reboot_command
        # The disk may be what is wrong: then only the runtime directory can be written.
        stamps = [directory / "last-forced-reboot" for directory in (self.settings.device.state_dir, self._runtime_dir)]
        if any(map(_is_of_today, stamps)) or not command or shutil.which(command[0]) is None:
            log.error("the hardware is held by a process that cannot be ended; restart the box by hand")
            return
        for stamp in stamps:
            with contextlib.suppress(OSError):
                stamp.touch()
                break
        log.critical("restarts the box: the hardware is held by a process that cannot be ended")
        self._tasks.create_task(self._reboot(command), name="reboot")

    @staticmethod
    async def _reboot(command: list[str]) -> None:
        try:
            process = await asyncio.create_subprocess_exec(*command)
        except OSError as error:
            log.error("the box cannot be restarted; do it by hand error=%s", error)  # noqa: TRY400 - not a fault of ours
        else:
            await process.wait()

    # The configuration again

    async def _read_again_forever(self) -> None:
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            self._notifier.reloading()
            try:
                fresh = await asyncio.to_thread(self._reload)
            except SettingsError as error:
                for fault in error.faults:
                    log.error("%s", fault)  # noqa: TRY400 - faults of a file
                log.error("configuration is faulty; the old one stays in force")  # noqa: TRY400
            else:
                await self._take_over(fresh)
                if self.again:
                    return
            self._notifier.ready()

    async def _take_over(self, fresh: Settings) -> None:
        """Logging, limits of the store and links change while everything runs; the rest needs a fresh start."""
        before, self.settings = self.settings, fresh
        live = {"log", "media", "links"}
        self.again = fresh.model_dump(exclude=live) != before.model_dump(exclude=live)
        log.info("configuration read again fresh_start=%s", "yes" if self.again else "no")
        if self.again:
            self._ending.set()
            return
        logs.setup(fresh.log.level)
        media = fresh.media
        self.device.media.set_limits(quota_bytes=media.quota, reserve_bytes=media.reserve, parallel=media.parallel)
        await self._restart_links(before.links, fresh.links)

    # The control socket (agent.control.controlled.Controlled)

    def status(self) -> dict[str, Any]:
        """See `Controlled`."""
        from agent.control.overview import overview  # noqa: PLC0415 - needs everything

        return overview(self)

    async def screenshot(self, screen: str | None) -> Path:
        """See `Controlled`."""
        return await self._clips.screenshot(screen)

    async def play(self, screen: str | None, name: str, stream: Any) -> None:
        """See `Controlled`."""
        await self._clips.play(screen, name, stream)

    def update(
        self, source: AsyncIterator[bytes] | str | None, *, size: int | None, by_hand: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        """See `Controlled`."""
        from agent.control.updating import update  # noqa: PLC0415 - next to nobody asks for it

        return update(self.device.updates, source, size=size, by_hand=by_hand)

    def look(self) -> None:
        """See `Controlled`."""
        self.device.updates.look()

    def on_change(self, callback: Callable[[], None]) -> object:
        """See `Controlled`."""
        self._listeners.append(callback)
        return callback

    def _changed(self) -> None:
        self._tell()
        for listener in self._listeners:
            listener()

    def _tell(self) -> None:
        """One line for `systemctl status`."""
        if not hasattr(self, "device"):
            return
        now = asyncio.get_running_loop().time()
        words = []
        for name, screen in self.device.screens.items():
            playing = screen.stage.status(now).playing
            words.append(f"{name}: {playing.state} {playing.title}".rstrip() if screen.up else f"{name}: down ({screen.cause})")
        connected = sum(link.state == "connected" for link in self.links)
        words.append(f"{connected} of {len(self.links)} links connected")
        self._notifier.status("; ".join(words))
