"""A box without hardware: a signage link with everything it needs, as in the daemon, on screens that present at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, cast

from agent.device import Device
from agent.hardware.brightness import Brightness
from agent.hardware.identity import Identity
from agent.hardware.mixer import Mixer, MixerError
from agent.hardware.mixer_messages import Reading
from agent.hardware.volume import Volume
from agent.links.signage.link import SignageLink, SignageTimers
from agent.links.signage.rest import RestTimers
from agent.media.store import MediaStore
from agent.media.wants import Timers
from agent.screen.messages import Ended, Failed, Progress, Ready, Scene, Screenshot, Shot, Started, Ticker
from agent.screen.proxy import Screen
from agent.stage.program import ProgramStatus
from agent.system.state import State
from agent.system.worker import Worker

if TYPE_CHECKING:
    from tests.servers.devices import Device as ServedDevice
    from tests.servers.signage import SignageServer

DEADLINE_S = 15.0
SERIAL = "LOBBY 01+&"
JPEG = b"\xff\xd8\xff\xe0 not much of a picture"
QUICK = SignageTimers(
    fetch_s=600.0, retry_s=600.0, report_s=0.02, repeat_s=0.2, place_s=0.1, rest=RestTimers(request_s=5.0, refused_s=0.0)
)
QUICK_STORE = Timers(
    response_s=5.0, stall_s=5.0, tries=2, mismatch_tries=2, retry_first_s=0.01, retry_last_s=0.02, progress_s=0.01
)


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Returns as soon as `condition` holds; fails after a generous deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {DEADLINE_S:g} s: {what or condition}")
        await asyncio.sleep(0.003)


class InstantScreen(Screen):
    """The real proxy of a screen over a worker that presents every picture at once. Videos end when `end_video` says so."""

    def __init__(self, name: str, *, size: tuple[int, int] = (1920, 1080)) -> None:
        super().__init__(name, "null", [], _Outputs())
        self.scenes: list[Scene] = []
        """What the worker was told, oldest first."""
        self.history: list[Shot] = []
        """The shots whose first frame was shown."""
        self.undecodable: set[str] = set()
        """Titles that no decoder takes."""
        self.shots_taken = 0
        self._worker = cast("Worker", _Worker(self))
        self._first_size = size

    def open(self) -> None:
        """The output presents pictures."""
        self._on_message(Ready(*self._first_size, "instant"))

    def resize(self, width: int, height: int) -> None:
        """Another display."""
        self._on_message(Ready(width, height, "instant"))

    @property
    def scene(self) -> Scene:
        """What should be on now."""
        return self.scenes[-1] if self.scenes else Scene()

    @property
    def titles(self) -> list[str]:
        """What has been shown so far, by title."""
        return [shot.title for shot in self.history]

    @property
    def title(self) -> str:
        """What is on, by title; empty if nothing is."""
        return self.scene.shot.title if self.scene.shot else ""

    @property
    def ticker(self) -> Ticker | None:
        """The text bar that is on."""
        return self.scene.ticker

    @property
    def playing(self) -> ProgramStatus:
        """What `status` tells."""
        return self.stage.status(self._now()).playing

    def at(self, position_s: float) -> None:
        """The video that is on is there now."""
        assert self.scene.shot is not None
        self._on_message(Progress(self.scene.shot.token, position_s))

    def end_video(self) -> None:
        """The video that is on comes to its natural end."""
        assert self.scene.shot is not None
        assert self.scene.shot.kind == "video"
        self._on_message(Ended(self.scene.shot.token))

    def present(self, scene: Scene) -> None:
        """The worker has got a scene."""
        before = self.scene.shot
        self.scenes.append(scene)
        if scene.shot is not None and (before is None or before.token != scene.shot.token):
            asyncio.get_running_loop().call_soon(self._show, scene.shot)

    def _show(self, shot: Shot) -> None:
        if shot.title in self.undecodable:
            self._on_message(Failed(shot.token, "no decoder"))
        else:
            self.history.append(shot)
            self._on_message(Started(shot.token))


class _Worker:
    """What an InstantScreen has for a worker."""

    def __init__(self, screen: InstantScreen) -> None:
        self._screen = screen

    def send(self, scene: Scene) -> None:
        self._screen.present(scene)

    async def request(self, message: Screenshot, deadline_s: float) -> None:
        self._screen.shots_taken += 1
        await asyncio.to_thread(Path(message.path).write_bytes, JPEG)


class _Outputs:
    """A connector that always has a display."""

    def usable(self, output: str) -> tuple[bool, str]:
        return True, ""

    def fingerprint(self, output: str) -> str:
        return ""

    def on_change(self, callback: Callable[[], None]) -> None:
        pass


class _NoMixer(Mixer):
    """A box without a card, found out without a worker process: the player does the work."""

    async def open(self, card: str, control: str, connector: str) -> Reading:
        raise MixerError("no card")


class CountingLink(SignageLink):
    """Counts the frames it has handled."""

    frames = 0

    def _on_frame(self, frame: str | bytes) -> None:
        super()._on_frame(frame)
        self.frames += 1


class Box:
    """One run of the agent's device after the other in the same directory: `async with box:`, or `start` and `stop`.

    `sides` maps the server's sides to screens, as in the configuration. `link_options` go to SignageLink.
    """

    def __init__(
        self,
        directory: Path,
        server: SignageServer,
        *,
        serial: str = SERIAL,
        sides: Mapping[str, str] | None = None,
        timers: SignageTimers = QUICK,
        store_timers: Timers = QUICK_STORE,
        parallel: int = 1,
        quota_bytes: int = 1 << 40,
        image_s: float = 600.0,
        **link_options: Any,
    ) -> None:
        self.directory = directory
        self.server = server
        self.serial = serial
        self.sides = dict(sides or {"front": "front"})
        self.timers = timers
        self.store_timers = store_timers
        self.parallel = parallel
        self.quota_bytes = quota_bytes
        self.image_s = image_s
        self.link_options = link_options
        self.volumes: list[float] = []
        """What the player's volume was set to, in order."""
        self.dims: list[float] = []
        """What the screens were dimmed by, in order."""
        self.state: State
        self.media: MediaStore
        self.volume: Volume
        self.brightness: Brightness
        self.screens: dict[str, InstantScreen] = {}
        self.link: CountingLink
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def screen(self) -> InstantScreen:
        """The first screen."""
        return next(iter(self.screens.values()))

    @property
    def served(self) -> ServedDevice:
        """The same box as the server knows it."""
        return self.server.device(self.serial)

    @property
    def files(self) -> list[Path]:
        """The complete files in the store."""
        return [path for path in (self.directory / "media").iterdir() if path.is_file() and ".part" not in path.name]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Brings everything up as the daemon does; returns without waiting for the server."""
        self.state = await State.open(self.directory / "state.db")
        self.media = MediaStore(
            self.directory / "media",
            self.state,
            quota_bytes=self.quota_bytes,
            reserve_bytes=0,
            parallel=self.parallel,
            timers=self.store_timers,
        )
        self.screens = {name: InstantScreen(name) for name in self.sides.values()}
        for screen in self.screens.values():
            screen.open()
        self.volume = Volume(self.state, apply_to_player=lambda percent, _muted: self.volumes.append(percent))
        self.volume._mixer = _NoMixer(on_change=lambda _reading: None, on_lost=lambda _error: None)
        self.brightness = Brightness(self.state, backend="software", apply_to_screens=self.dims.append)
        # What a signage link uses of a device, and nothing else.
        used = SimpleNamespace(
            identity=Identity(self.serial, "B827EB000001", "B8:27:EB:00:00:01", "Acme", "Sign 1", "Acme Ltd", "Debian 12"),
            state=self.state,
            media=self.media,
            volume=self.volume,
            brightness=self.brightness,
            screens=self.screens,
            image_s=self.image_s,
            runtime_dir=self.directory,
        )
        device = cast("Device", used)
        await self.media.start()
        options = {"url": self.server.url, "username": self.server.username, "password": self.server.password, "spread_s": 0.0}
        self.link = CountingLink("main", device, sides=self.sides, timers=self.timers, **{**options, **self.link_options})
        parts = (self.volume, self.brightness, self.media, self.link)
        self._tasks = [asyncio.create_task(part.run(), name=f"box: {type(part).__name__}") for part in parts]
        started = asyncio.create_task(self._started(), name="box: waits for its start")
        await asyncio.wait([started, *self._tasks], timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            started.cancel()
            await self.stop(orderly=False)
            raise AssertionError("volume or brightness did not start")

    async def _started(self) -> None:
        await self.volume.started()
        await self.brightness.started()

    async def stop(self, *, orderly: bool = True) -> None:
        """Ends it as SIGTERM does, or, not `orderly`, without a last word to the disk. What broke off is raised."""
        if orderly:
            await self.link.save()
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.wait({task})
        await self.media.close()
        await self.state.close()
        for task in self._tasks:
            if not task.cancelled():
                task.result()

    async def restart(self, *, orderly: bool = True) -> None:
        """Ends the agent and starts it again; not `orderly`: as if the plug were pulled, a moment after the last command."""
        if not orderly:
            for newest in (self.link._keeper, self.link._commands.volume, self.link._commands.brightness):
                await newest.flush()
            await asyncio.sleep(0.1)
            await self.state.read(lambda _database: None)
        await self.stop(orderly=orderly)
        await self.start()

    # What tests wait for

    async def connected(self) -> ServedDevice:
        """The device as the server sees it, once its socket is open."""
        return await self.server.connected(self.serial, DEADLINE_S)

    async def command(self, action: str, **arguments: Any) -> None:
        """Sends a command; returns when the link has handled the frame."""
        await self.frame({"action": action, **arguments})

    async def frame(self, frame: Any) -> None:
        """Sends an object, or a text or binary frame as it is; returns when the link has handled it."""
        await self.connected()
        before = self.link.frames
        if isinstance(frame, str | bytes):
            await self.server.send_raw(self.serial, frame)
        else:
            await self.server.send(self.serial, frame)
        await until(lambda: self.link.frames > before, f"frame handled: {frame!r:.80}")

    async def quiet(self) -> None:
        """Lets everything that was set off come to its end; takes a text bar away."""
        await self.command("hide_text_overlay")
        await asyncio.sleep(0.05)

    async def shows(self, title: str, *, screen: str = "") -> None:
        """Waits until that item is on."""
        shown = self.screens[screen] if screen else self.screen
        with contextlib.suppress(AssertionError):
            await until(lambda: shown.title == title and shown.titles[-1:] == [title])
        assert shown.title == title, f"shown so far: {shown.titles}"

    async def says(self, status: str, playlist_id: object, *, since: int = 0) -> dict[str, Any]:
        """Waits for a playlist_status."""
        return await self.served.wait_for(
            type="playlist_status", playlist_id=playlist_id, status=status, since=since, timeout_s=DEADLINE_S
        )

    async def ready(self, *playlist_ids: object, since: int = 0) -> dict[str, Any]:
        """Waits for a ready_playlists with just these ids, in any order."""
        return await self.served.wait_for(
            lambda said: sorted(said["playlist_ids"], key=str) == sorted(playlist_ids, key=str),
            type="ready_playlists",
            since=since,
            timeout_s=DEADLINE_S,
        )
