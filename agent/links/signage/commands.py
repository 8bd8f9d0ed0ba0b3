"""What the server commands, carried out on the sides, their screens and the device (signage contract, section 3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from agent.device import Device
from agent.links.signage import messages
from agent.links.signage.keeper import Keeper, storing
from agent.links.signage.memory import Memory
from agent.links.signage.messages import Id
from agent.links.signage.newest import Newest
from agent.links.signage.playlists import ServerPlaylist
from agent.links.signage.side import Side
from agent.screen.messages import Ticker
from agent.screen.proxy import Screen

log = logging.getLogger(__name__)

_MOST_FAULTS = 1_000
"""A server that invents ever new faults must fill neither the memory nor the log."""


class Commands:
    """Acts on the stage at once, in the order of the messages; what has to be written follows behind.

    `fetch` asks for the playlists, for the sake of a switch if one is given; `hurry` is called with a playlist that is switched
    to and not complete, `settled` when one was there at once, `clean_up` with the ids whose files stay.
    """

    def __init__(
        self,
        link: str,
        device: Device,
        sides: Mapping[str, Side],
        screens: Mapping[str, Screen],
        *,
        keeper: Keeper,
        memory: Memory,
        fetch: Callable[[Id | None], None],
        hurry: Callable[[Id], None],
        settled: Callable[[], None],
        clean_up: Callable[[set[Id]], None],
    ) -> None:
        self.volume, self.brightness = Newest(), Newest()
        self.awaited: Id | None = None
        """The newest switch, if it is to be carried out after a fetch."""
        self.released: set[Id] = set()
        """Playlists whose files were cleaned up; fetched again only when the server asks for it."""
        self.ticker: Ticker | None = None
        """What this link has put on, to be taken off by it."""
        self._link = link
        self._device = device
        self._sides = sides
        self._screens = screens
        self._keeper = keeper
        self._memory = memory
        self._fetch = fetch
        self._hurry = hurry
        self._settled = settled
        self._clean_up = clean_up
        self._found: set[str] = set()
        """Faults of the server's that the log has named."""

    def find(self, fault: str) -> None:
        """The server has said something that cannot be carried out: a warning the first time."""
        known = fault in self._found or len(self._found) >= _MOST_FAULTS
        log.log(logging.DEBUG if known else logging.WARNING, "%s", fault)
        if not known:
            self._found.add(fault)

    def act(self, action: messages.AnyAction) -> None:
        """Carries out one command."""
        now = _now()
        match action:
            case messages.Play():
                self._each_side(lambda side: side.play(now))
            case messages.Pause():
                self._each_side(lambda side: side.pause(now))
            case messages.Next():
                self._step(1)
            case messages.Previous():
                self._step(-1)
            case messages.ReloadPlaylist(new_solution_id=switch_to):
                self._release_no_more(set(self.released))
                self.awaited = self.awaited if switch_to is None else switch_to
                self._fetch(switch_to)
            case messages.SwitchPlaylist(playlist_id=playlist_id):
                if not self.switch(playlist_id):
                    self.awaited = playlist_id
                    self._fetch(playlist_id)
            case messages.PlayMedia():
                self._play_media(action)
            case messages.ShowTextOverlay(text_overlay=overlay):
                self._show_and_keep(overlay)
            case messages.HideTextOverlay():
                self._show_and_keep(None)
            case messages.SetBrightness(brightness=percent):
                self.brightness.add("brightness", storing(self._link, self._device.brightness.set, percent))
            case messages.SetVolume(volume=percent):
                self.volume.add("volume", storing(self._link, self._device.volume.set, percent))
            case messages.CleanupOldPlaylists(playlist_ids_to_keep=keep):
                self._clean_up(set(keep))

    def switch(self, playlist_id: Id, *, media_id: Id | None = None, index: int | None = None) -> bool:
        """Switches each side that lists the id; False: none does."""
        found = False
        for name, side in self._sides.items():
            if playlist_id in side.known:
                self.awaited = None
                self._release_no_more({playlist_id})
                if side.switch(playlist_id, _now(), media_id=media_id, index=index):
                    self._hurry(playlist_id)
                else:
                    self._settled()
                self._changed(name)
                found = True
        return found

    def show(self, overlay: messages.TextOverlay | None) -> None:
        """Shows, replaces or removes the text bar."""
        self.ticker = None if overlay is None else overlay.ticker()
        for screen in self._screens.values():
            screen.stage.ticker = self.ticker
            screen.refresh()

    def release(self, playlist_ids: set[Id]) -> None:
        """The files of these are not fetched until the server asks for them again, also after a restart."""
        self.released |= playlist_ids
        self._keep_released()

    def _changed(self, name: str) -> None:
        self._screens[name].refresh()
        self._keeper.side(name, durable=True)

    def _each_side(self, act: Callable[[Side], None]) -> None:
        for name, side in self._sides.items():
            act(side)
            self._changed(name)

    def _step(self, by: int) -> None:
        def step(side: Side) -> None:
            if side.program.sequencer is not None:
                side.program.sequencer.step(by, _now())
                side.play(_now())

        self._each_side(step)

    def _play_media(self, action: messages.PlayMedia) -> None:
        found = False
        for name, side in self._sides.items():
            playing = side.playing.playlist_id if side.playing is not None else None
            if action.playlist_id is not None and action.playlist_id != playing:
                playlist = side.known.get(action.playlist_id)
                if playlist is not None and _has(playlist, action):
                    found |= self.switch(action.playlist_id, media_id=action.media_id, index=action.media_index)
            elif side.program.sequencer is not None and side.program.sequencer.jump(
                _now(), media_id=action.media_id, index=action.media_index
            ):
                found = True
                side.play(_now())
                self._changed(name)
        if not found:
            self.find(
                f"no such item on disk, nothing changed link={self._link} media_id={action.media_id} "
                f"media_index={action.media_index} playlist={action.playlist_id}"
            )

    def _show_and_keep(self, overlay: messages.TextOverlay | None) -> None:
        self.show(overlay)
        self._keeper.add("overlay", self._memory.keep_overlay, overlay)

    def _release_no_more(self, playlist_ids: set[Id]) -> None:
        """The server asks for these again: they are fetched, now and after a restart."""
        if playlist_ids & self.released:
            self.released -= playlist_ids
            self._keep_released()

    def _keep_released(self) -> None:
        self._keeper.add("released", self._memory.keep_released, set(self.released))


def _has(playlist: ServerPlaylist, action: messages.PlayMedia) -> bool:
    if action.media_id is not None:
        return any(str(media.item.media_id) == str(action.media_id) for media in playlist.media)
    return action.media_index is not None and 0 <= action.media_index < len(playlist.media)


def _now() -> float:
    return asyncio.get_running_loop().time()
