"""The mixer worker: `python -m agent.hardware.mixer_worker`, started by `agent.hardware.mixer`.

A process, not a thread: pyalsaaudio keeps the interpreter's lock during every mixer call, so one that hangs in the driver or in
a sound server would hold the daemon's event loop, whichever thread made it; and alsa-lib aborts when a control vanishes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.hardware import decibels
from agent.hardware.cards import Survey, choose_card, in_order
from agent.hardware.loudness import Scale
from agent.hardware.mixer_messages import TO_WORKER, Card, Lost, Mute, Open, Opened, Reading, Write
from agent.system.wire import Done, Ping
from agent.system.worker import Channel, open_channel

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class MixerUnusableError(Exception):
    """Nothing can be opened now; says why."""


class Control:
    """One mixer control, watched for changes by others."""

    def __init__(self, alsaaudio: Any, device: str, name: str) -> None:
        self._alsa = alsaaudio
        self._mixer = alsaaudio.Mixer(name, device=device)
        self.name = name
        raw = tuple(self._mixer.getrange(alsaaudio.PCM_PLAYBACK, alsaaudio.VOLUME_UNITS_RAW)) or (0, 0)
        self.scale = Scale.of(raw, decibels.db_range(device, name), name)
        self.has_switch = bool({"Mute", "Playback Mute"} & set(self._mixer.switchcap()))
        self.has_volume = bool({"Volume", "Playback Volume"} & set(self._mixer.volumecap()))

    def read(self) -> tuple[int, int | None, bool]:
        """Raw value and level of the loudest channel, and whether every channel is muted."""
        alsa = self._alsa
        raw = max(self._mixer.getvolume(alsa.PCM_PLAYBACK, alsa.VOLUME_UNITS_RAW))
        cdb = None if self.scale.cdb is None else max(self._mixer.getvolume(alsa.PCM_PLAYBACK, alsa.VOLUME_UNITS_DB))
        return raw, cdb, self.has_switch and all(self._mixer.getmute())

    def write(self, value: int, *, in_db: bool) -> None:
        alsa = self._alsa
        units = alsa.VOLUME_UNITS_DB if in_db else alsa.VOLUME_UNITS_RAW
        self._mixer.setvolume(value, alsa.MIXER_CHANNEL_ALL, alsa.PCM_PLAYBACK, units)

    def mute(self, muted: bool) -> None:
        self._mixer.setmute(int(muted))

    def take_events(self) -> None:
        """Takes in what others changed. Raises when the control is gone."""
        poll = select.poll()
        for descriptor, events in self._mixer.polldescriptors():
            poll.register(descriptor, events)
        if any(event & _GONE for _, event in poll.poll(0)):
            raise MixerUnusableError("the sound device is gone")
        self._mixer.handleevents()

    def descriptors(self) -> list[int]:
        return [descriptor for descriptor, _ in self._mixer.polldescriptors()]

    def close(self) -> None:
        self._mixer.close()


class Session:
    """Answers the daemon."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._control: Control | None = None
        self._watched: list[int] = []
        self._last: tuple[int, int | None, bool] | None = None

    async def run(self) -> None:
        """Until the daemon hangs up."""
        async for message, request_id in self._channel.messages():
            error = self._attempt(lambda message=message: self._do(message))  # type: ignore[misc]
            if request_id is not None:
                self._channel.send(Done(error or ""), request_id=request_id)

    def _do(self, message: Open | Write | Mute | Ping) -> None:
        if isinstance(message, Ping):
            return
        if isinstance(message, Open):
            self._let_go()
            self._open(message)
        elif self._control is None:
            raise MixerUnusableError("no mixer is open")
        elif isinstance(message, Write):
            self._control.write(message.value, in_db=message.in_db)
        else:
            self._control.mute(message.muted)
        self._tell(asked=True)

    def _open(self, message: Open) -> None:
        import alsaaudio  # noqa: PLC0415 - only this process loads it

        choice = choose_card(message.card, message.connector, survey(alsaaudio))
        if choice is None:
            raise MixerUnusableError("no sound card")
        self._channel.send(Card(choice.audio_device))
        control = self._control = find_control(alsaaudio, choice.device, message.control)
        scale = control.scale
        low, high = scale.cdb or (None, None)
        self._channel.send(
            Opened(
                device=choice.device,
                control=control.name,
                minimum=scale.minimum,
                maximum=scale.maximum,
                low_cdb=low,
                high_cdb=high,
                has_switch=control.has_switch,
            )
        )
        self._watched = control.descriptors()
        for descriptor in self._watched:
            asyncio.get_running_loop().add_reader(descriptor, self._changed)

    def _changed(self) -> None:
        def take() -> None:
            assert self._control is not None
            self._control.take_events()
            self._tell(asked=False)

        self._attempt(take)

    def _tell(self, *, asked: bool) -> None:
        assert self._control is not None
        now = self._control.read()
        if asked or now != self._last:
            self._last = now
            self._channel.send(Reading(*now, asked=asked))

    def _attempt(self, action: Callable[[], None]) -> str | None:
        """None, or what went wrong; what was open is then given up and the daemon told."""
        try:
            action()
        except (MixerUnusableError, OSError) as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - ALSAAudioError cannot be named before the module is loaded
            reason = f"{error}" if type(error).__name__ == "ALSAAudioError" else f"{type(error).__name__}: {error}"
        else:
            return None
        if self._control is not None:
            self._let_go()
            self._channel.send(Lost(reason))
        return reason

    def _let_go(self) -> None:
        for descriptor in self._watched:
            asyncio.get_running_loop().remove_reader(descriptor)
        self._watched = []
        self._last = None
        if self._control is not None:
            with contextlib.suppress(Exception):
                self._control.close()
            self._control = None


def survey(alsaaudio: Any) -> Survey:
    """What ALSA has at this moment."""
    cards = list(alsaaudio.cards())
    return Survey(
        configuration=configuration(),
        cards=cards,
        default_controls=_controls(alsaaudio, "default"),
        first_controls=_controls(alsaaudio, f"hw:CARD={cards[0]}") if cards else (),
    )


def find_control(alsaaudio: Any, device: str, wanted: str) -> Control:
    """The control `wanted` of the mixer `device`; for `auto` the likeliest playback volume. Raises MixerUnusableError."""
    names = alsaaudio.mixers(device=device)
    for name in in_order(names) if wanted == "auto" else [wanted]:
        if name not in names:
            raise MixerUnusableError(f"mixer {device} has no control {name!r}; it has: {', '.join(names) or 'none'}")
        control = Control(alsaaudio, device, name)
        if control.has_volume and not (wanted == "auto" and control.scale.is_switch):
            return control
        control.close()
    raise MixerUnusableError(f"mixer {device} has no volume control" if wanted == "auto" else f"{wanted!r} is no volume control")


def configuration() -> str:
    """The text of the ALSA configuration that the device's owner wrote."""
    if set_path := os.environ.get("ALSA_CONFIG_PATH"):
        paths = [Path(part) for part in set_path.split(":")]
    else:
        config_home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        paths = [Path("/etc/asound.conf"), Path("~/.asoundrc"), Path(config_home) / "alsa/asoundrc"]
    texts = []
    for path in paths:
        with contextlib.suppress(OSError, RuntimeError):
            texts.append(path.expanduser().read_text(errors="replace"))
    return "\n".join(texts)


def _controls(alsaaudio: Any, device: str) -> list[str]:
    try:
        return list(alsaaudio.mixers(device=device))
    except alsaaudio.ALSAAudioError:
        return []


def _quiet_alsa() -> None:
    """alsa-lib prints to descriptor 2 whatever it does not find; Python keeps its own way there."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a device
        os.dup2(nothing.fileno(), 2)


async def main() -> None:
    """Serves the daemon that started this process."""
    channel = await open_channel(TO_WORKER)
    _quiet_alsa()
    await Session(channel).run()


if __name__ == "__main__":
    asyncio.run(main())
