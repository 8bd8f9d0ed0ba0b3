"""The signage link: playlists from the server to the screens, commands carried out, progress reported."""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed

from agent.device import Device
from agent.links.backoff import Backoff
from agent.links.link import Address, Link, RefusedError, UnavailableError
from agent.links.signage import messages
from agent.links.signage.commands import Commands
from agent.links.signage.keeper import Keeper
from agent.links.signage.library import Holding, Library
from agent.links.signage.memory import Memory
from agent.links.signage.messages import Id, UnknownMessageError
from agent.links.signage.orders import Order, Orders
from agent.links.signage.outbox import Outbox
from agent.links.signage.playlists import PlaylistReader, SidePlaylists
from agent.links.signage.registration import Registration
from agent.links.signage.reports import Reports
from agent.links.signage.rest import RestTimers, SignageRest, UnknownDeviceError
from agent.links.signage.side import Side
from agent.links.signage.uploads import upload_forever
from agent.screen.proxy import Screen
from agent.stage.playlist import Item
from agent.stage.playlist_program import PlaylistProgram
from agent.system.logs import Trouble, excerpt
from agent.system.state import StateError

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger(__name__)

LONGEST_REMARK = 500


@dataclass(frozen=True, slots=True)
class SignageTimers:
    """Seconds; signage contract, sections 1 and 4, and design, section 8."""

    fetch_s: float = 900.0
    """Between two fetches of the playlists, when nothing asks for one."""
    retry_s: float = 60.0
    """Before files that failed are tried again; doubles up to `fetch_s`."""
    register_s: float = 5.0
    """At most so long do the playlists wait for a registration, which goes on beside them."""
    report_s: float = 1.0
    repeat_s: float = 30.0
    arrivals_s: float = 0.1
    """Items that arrive within this time join a running list together."""
    place_s: float = 30.0
    """At most so often is the position within an item written to disk."""
    rest: RestTimers = field(default_factory=RestTimers)


class SignageLink(Link):
    """One signage server.

    `sides` maps the server's sides to the names of the screens that show them; `screenshots_s` is 0 for none.
    """

    kind = "signage"

    def __init__(
        self,
        name: str,
        device: Device,
        *,
        url: str,
        username: str,
        password: str,
        sides: Mapping[str, str],
        priority: int = 10,
        spread_s: float = 5.0,
        screenshots_s: float = 0.0,
        screenshot_form: str = "device",
        tls: ssl.SSLContext | None = None,
        timers: SignageTimers = SignageTimers(),
    ) -> None:
        super().__init__(name, spread_s=spread_s, tls=tls)
        self._device = device
        self._timers = timers
        self._screenshots_s = screenshots_s
        self._screenshot_form = screenshot_form
        self._rest = SignageRest(url, username, password, device.state, name, tls=tls, timers=timers.rest)
        self._reader = PlaylistReader(self._rest.origin, device.image_s)
        self._registration = Registration(device, self._rest, next(iter(sides.values())))
        self._registering: asyncio.Task[None] | None = None
        self._outbox = Outbox(Reports(interval_s=timers.report_s, repeat_s=timers.repeat_s), self._ready_now)
        self._library = Library(
            f"{name}",
            device.media,
            headers=self._rest.media_headers,
            trusted_origin=self._rest.origin,
            tls=tls,
            on_report=self._on_report,
            on_bytes=self._outbox.bytes_flow,
            on_files=self._on_files,
            on_done=self._on_done,
        )
        self._screens: dict[str, Screen] = {side: device.screens[screen] for side, screen in sides.items()}
        self._sides: dict[str, Side] = {
            side: Side(
                side,
                PlaylistProgram(f"{name}", priority, screen.stage.tokens, on_failed=self._on_undecodable),
                path_of=self._library.path_of,
                is_busy=self._is_busy,
            )
            for side, screen in self._screens.items()
        }
        self._orders = Orders(timers.fetch_s, timers.retry_s, self._is_incomplete)
        self._memory = Memory(name, device.state)
        self._keeper = Keeper(name, self._memory, self._sides, place_s=timers.place_s)
        self._commands = Commands(
            name,
            device,
            self._sides,
            self._screens,
            keeper=self._keeper,
            memory=self._memory,
            fetch=lambda switch_to: self.fetch(again=True, switch_to=switch_to),
            hurry=self._hurry_playlist,
            settled=self._outbox.ready,
            clean_up=lambda keep: self._spawn(self._clean_up(keep), "cleans up"),
        )
        self._tasks: asyncio.TaskGroup
        self._access = ""
        self._arrived: set[Id] = set()
        self._taking_in: asyncio.TimerHandle | None = None
        self._restored = False
        self._watching: dict[str, Callable[[], None]] = {}
        self._fetch_trouble, self._register_trouble, self._keep_trouble = Trouble(log), Trouble(log), Trouble(log)

    # Life

    async def _restore(self) -> None:
        """Takes up where an earlier run left off, from the disk alone; what is there begins to play."""
        await self._rest.open()
        self._commands.released = await self._memory.released()
        if (overlay := await self._memory.overlay()) is not None:
            self._commands.show(overlay)
        for name, side in self._sides.items():
            kept = await self._memory.side(name)
            self._keeper.restored(name, kept.place)
            side.restore(kept.chosen, kept.place, paused=kept.paused)
            playlists = await asyncio.to_thread(self._reader.side, await self._memory.bodies(name), kept.current)
            await self._library.look(playlists.playlists)
            now = self._now()
            screen = self._screens[name]
            side.update(playlists, now)
            screen.stage.put(side.program, now)
            self._watching[name] = functools.partial(self._on_screen, name)
            screen.on_change(self._watching[name])
            screen.refresh()
        self._device.media.on_lost(self._on_lost)
        self._restored = True

    async def run(self) -> None:
        """See `Link`."""
        works = {
            "downloads": self._library.run,
            "fetches playlists": self._fetch_forever,
            "connects": self.connect_forever,
            "renews tokens": self._rest.keep_fresh,
            "notices positions": self._keeper.notice_positions,
            "saves": self._keeper.run,
            "sets volume": self._commands.volume.run,
            "sets brightness": self._commands.brightness.run,
        }
        if self._screenshots_s:
            works["uploads screenshots"] = self._upload_forever
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._restore()
                for what, work in works.items():
                    self._tasks.create_task(work(), name=f"{self.name}: {what}")
        finally:
            self._let_go()
            await self._rest.close()

    def _let_go(self) -> None:
        """Hears of nothing any more and keeps no file; what it shows stays on."""
        if self._taking_in is not None:
            self._taking_in.cancel()
        for name, watch in self._watching.items():
            self._screens[name].off_change(watch)
        self._watching.clear()
        if self._restored:
            self._device.media.off_lost(self._on_lost)
        self._device.media.keep(self.name, [])

    def leave(self) -> None:
        """See `Link`."""
        super().leave()
        for name, side in self._sides.items():
            screen = self._screens[name]
            screen.stage.remove(side.program, self._now())
            if screen.stage.ticker is self._commands.ticker:  # a successor may have put its own there
                screen.stage.ticker = None
            screen.refresh()

    async def save(self) -> None:
        """Writes to disk what waits for it, and the present position; called when the agent ends."""
        await self._keeper.save()

    def playlists(self) -> list[dict[str, Any]]:
        """Its entries in `status --json`."""
        return [
            {
                "link": self.name,
                "id": playlist_id,
                "name": holding.playlist.name,
                "status": holding.status,
                "total_items": holding.playlist.total_items,
                "downloaded_items": holding.downloaded,
                "missing_files": list(holding.missing),
                "error": holding.error or None,
            }
            for playlist_id, holding in self._library.holdings.items()
        ]

    # The connection

    async def address(self) -> Address:
        """See `Link`."""
        self._access = await self._rest.access()
        return Address(self._rest.socket_url(self._device.identity.serial, self._access))

    async def renew(self) -> bool:
        """See `Link`."""
        await self._rest.renew(self._access)
        return True

    async def session(self, socket: ClientConnection) -> None:
        """See `Link`."""
        self._outbox.ready()
        self.fetch(again=False)
        sender = asyncio.create_task(self._outbox.send_to(socket), name=f"{self.name}: reports")
        # A connection without reports would be of no use.
        sender.add_done_callback(lambda task: None if task.cancelled() else socket.transport.abort())
        try:
            async for frame in socket:
                self._on_frame(frame)
        finally:
            sender.cancel()
            await asyncio.wait({sender})
            if not sender.cancelled() and (error := sender.exception()) and not isinstance(error, ConnectionClosed):
                log.error("reports broke off link=%s", self.name, exc_info=error)

    # Commands

    def _on_frame(self, frame: str | bytes) -> None:
        try:
            action = messages.parse(frame)
            if action is not None:
                log.debug("command link=%s action=%s", self.name, action.action)
                self._commands.act(action)
        except UnknownMessageError as error:
            self._commands.find(f"message ignored link={self.name} fault={excerpt(str(error), LONGEST_REMARK)}")
        except Exception:
            log.exception("command failed link=%s", self.name)

    def _hurry_playlist(self, playlist_id: Id) -> None:
        """It is switched to and not complete; perhaps it was released until now."""
        self._library.hurry(playlist_id)
        known = {name: SidePlaylists(tuple(side.known.values())) for name, side in self._sides.items()}
        self._set_library(known, {i for side in self._sides.values() for i in side.urgent}, again=False)

    async def _clean_up(self, keep: set[Id]) -> None:
        keep = keep | {side.playing.playlist_id for side in self._sides.values() if side.playing is not None}
        for side in self._sides.values():
            keep |= side.urgent
        released = self._library.holdings.keys() - keep
        self._commands.release(released)  # before anything is awaited: a switch meanwhile takes its playlist out again
        deleted = await self._library.forget(released)
        self._outbox.forget(set(self._library.holdings))
        log.info("old playlists cleaned up link=%s playlists=%d files=%d", self.name, len(released), deleted)
        self._outbox.ready()

    # Playlists

    def fetch(self, *, again: bool, switch_to: Id | None = None) -> None:
        """Asks for the server's playlists soon; several calls while one fetch runs become one more."""
        self._orders.add(Order(again, switch_to))

    async def _fetch_forever(self) -> None:
        backoff = Backoff(2.0)
        self.fetch(again=True)
        while True:
            order = await self._orders.next()
            try:
                await self._fetch(order)
            except (RefusedError, UnavailableError) as error:
                self._fetch_trouble.is_("playlists not fetched", error, link=self.name)
                await self._orders.again_after(order, backoff.wait_s(refused=isinstance(error, RefusedError)))
            except Exception:
                log.exception("fetch of playlists broke off link=%s", self.name)
            else:
                backoff.lived(float("inf"))
                self._fetch_trouble.over(f"playlists fetched again link={self.name}")

    async def _fetch(self, order: Order) -> None:
        if self._registering is None or self._registering.done():
            self._registering = self._tasks.create_task(self._register(), name=f"{self.name}: registers")
        await asyncio.wait({self._registering}, timeout=self._timers.register_s)
        serial = self._device.identity.serial
        try:
            body = await self._rest.playlists(serial)
        except UnknownDeviceError:
            await self._registration.register(anew=True)
            body = await self._rest.playlists(serial)
        try:
            fetched = await asyncio.to_thread(self._reader.screens, body, list(self._sides))
        except ValueError as error:
            raise UnavailableError(str(error)) from None
        log.info("playlists fetched link=%s playlists=%d", self.name, sum(len(side.playlists) for side in fetched.values()))
        now = self._now()
        urgent_before = {i for side in self._sides.values() for i in side.urgent}
        switch_to = order.switch_to if order.switch_to == self._commands.awaited else None  # a newer switch wins
        self._set_library(fetched, urgent_before | ({switch_to} if switch_to is not None else set()), again=order.again)
        for name, playlists in fetched.items():
            self._sides[name].update(playlists, now)
            self._screens[name].refresh()
        if switch_to is not None and not self._commands.switch(switch_to):
            self._commands.awaited = None
            self._commands.find(f"the server has no such playlist, nothing changed link={self.name} playlist={switch_to}")
        for name in self._sides:
            self._keeper.side(name)
        self._keeper.add("playlists", self._keep, fetched)

    async def _keep(self, fetched: Mapping[str, SidePlaylists]) -> None:
        """For a start without the server. A disk that takes nothing costs no more than that."""
        try:
            for name, playlists in fetched.items():
                playing = self._sides[name].playing
                await self._memory.keep_bodies(name, playlists.bodies, None if playing is None else playing.playlist_id)
            self._keep_trouble.over(f"playlists are kept again link={self.name}")
        except StateError as error:
            self._keep_trouble.is_("playlists not kept for the next start", error, link=self.name)

    async def _register(self) -> None:
        try:
            await self._registration.register()
            self._register_trouble.over(f"device registered link={self.name}")
        except (RefusedError, UnavailableError) as error:
            self._register_trouble.is_("device not registered, tried again later", error, link=self.name)
        except Exception:
            log.exception("registration broke off link=%s", self.name)

    def _set_library(self, sides: Mapping[str, SidePlaylists], urgent: set[Id], *, again: bool) -> None:
        released = self._commands.released
        playlists = {p.playlist_id: p for side in sides.values() for p in side.playlists if p.playlist_id not in released}
        self._outbox.forget(set(playlists))
        for side in self._sides.values():
            if side.playing is not None:
                playlists.setdefault(side.playing.playlist_id, side.playing)
        if not playlists:
            self._outbox.ready()
        self._library.update(playlists.values(), urgent, again=again)

    def _is_incomplete(self) -> bool:
        return self._registration.pending or (self._library.waiting_for_more and not self._library.busy)

    def _is_listed(self, playlist_id: Id) -> bool:
        """The server has it; not one that vanished and plays on."""
        return any(playlist_id in side.known for side in self._sides.values())

    def _is_busy(self, playlist_id: Id) -> bool:
        holding = self._library.holdings.get(playlist_id)
        return holding is not None and holding.busy

    # What the library says

    def _ready_now(self) -> list[Id]:
        return [playlist_id for playlist_id in self._library.ready() if self._is_listed(playlist_id)]

    def _on_report(self, holding: Holding, again: bool) -> None:
        if self._is_listed(holding.playlist.playlist_id):
            self._outbox.status(holding.report(), again=again)
        self.changed()

    def _on_files(self, playlist_id: Id) -> None:
        """An item has arrived or was lost. A list that plays takes in what came together, another one is not kept waiting."""
        self._outbox.check_ready(playlist_id)
        self._arrived.add(playlist_id)
        if any(side.playing is None for side in self._sides.values()):
            self._take_in()
        elif self._taking_in is None:
            self._taking_in = asyncio.get_running_loop().call_later(self._timers.arrivals_s, self._take_in)

    def _take_in(self) -> None:
        if self._taking_in is not None:
            self._taking_in.cancel()
            self._taking_in = None
        arrived, self._arrived = self._arrived, set()
        for name, side in self._sides.items():
            for playlist_id in arrived:
                side.files_changed(playlist_id, self._now())
            self._screens[name].refresh()

    def _on_done(self, playlist_id: Id) -> None:
        switched = any(playlist_id in side.urgent for side in self._sides.values())
        self._arrived.add(playlist_id)
        self._take_in()
        if switched or not self._library.busy:
            self._outbox.ready()
        if not self._library.busy:
            self._orders.look_again()

    def _on_lost(self, _digest: str) -> None:
        self._spawn(self._library.look_for_losses(), "replaces a lost file")

    def _on_undecodable(self, item: Item) -> None:
        """Perhaps the disk has damaged it: looked at now instead of at the next round of verification."""
        self._spawn(self._device.media.damaged(Path(item.path)), "verifies a file")

    async def _upload_forever(self) -> None:
        await upload_forever(
            next(iter(self._screens.values())),
            self._rest,
            self._device.identity.serial,
            self._device.runtime_dir / f"{self.name}-upload.jpg",
            every_s=self._screenshots_s,
            form=self._screenshot_form,
            is_connected=lambda: self.state == "connected",
        )

    def _on_screen(self, name: str) -> None:
        self._keeper.moved(name)
        if self._registration.has_news():
            self.fetch(again=False)

    def _spawn(self, work: Coroutine[Any, Any, Any], what: str) -> None:
        """A small job beside the others, whose trouble stays its own."""
        try:
            self._tasks.create_task(self._guarded(work, what), name=f"{self.name}: {what}")
        except RuntimeError:  # the link is ending, while screens and files still tell their news
            work.close()
            log.debug("left undone, the link ends link=%s work=%r", self.name, what)

    async def _guarded(self, work: Coroutine[Any, Any, Any], what: str) -> None:
        try:
            await work
        except Exception:
            log.exception("not done: %s link=%s", what, self.name)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
