"""What stands in for the device: real parts without hardware; voice and restart note what they are told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Self

from agent.hardware.brightness import Brightness
from agent.hardware.mixer import Mixer, MixerError
from agent.hardware.mixer_messages import Reading
from agent.hardware.name import DeviceName
from agent.hardware.power import Power
from agent.hardware.reboot import RebootError
from agent.hardware.volume import Volume
from agent.links.speaker.parts import Uplink
from agent.system.state import State
from tests.links.speaker.updates import StandInUpdates

DEVICE_ID = "A1B2C3D4E5F6"


class StandInReboot:
    """Notes when a restart was asked for; when it is tried it `fails` with that reason, beforehand it `refuses` with that one."""

    def __init__(self) -> None:
        self.requests: list[float] = []
        self.fails = ""
        self.refuses = ""
        self.asked = 0

    async def refusal(self) -> str:
        """See `parts.Reboot`."""
        self.asked += 1
        return self.refuses

    async def request(self) -> None:
        """See `parts.Reboot`."""
        self.requests.append(asyncio.get_running_loop().time())
        if self.fails:
            raise RebootError(self.fails)


class StandInVoice:
    """Notes every call; frames of one session are joined."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.uplinks: list[Uplink] = []
        self.attached = 0
        self.priorities: list[int] = []

    @property
    def words(self) -> list[str]:
        """The calls without what they carried."""
        return [name for name, _ in self.calls]

    @property
    def heard(self) -> list[bytes]:
        """What came in each session."""
        sessions: list[bytes] = []
        for name, data in self.calls:
            if name == "begin":
                sessions.append(b"")
            elif name == "frame":
                sessions[-1] += data
        return sessions

    def begin(self, speaker: object, *, priority: int = 0) -> None:
        """See `parts.Voice`."""
        self.calls.append(("begin", b""))
        self.priorities.append(priority)

    def frame(self, speaker: object, data: bytes) -> None:
        """See `parts.Voice`."""
        self.calls.append(("frame", data))

    def end(self, speaker: object) -> None:
        """See `parts.Voice`."""
        self.calls.append(("end", b""))

    def stop(self, speaker: object) -> None:
        """See `parts.Voice`."""
        self.calls.append(("stop", b""))

    def attach(self, speaker: object) -> None:
        """See `parts.Voice`."""
        self.attached += 1

    def detach(self, speaker: object) -> None:
        """See `parts.Voice`."""
        self.attached -= 1

    def listen(self, uplink: Uplink) -> None:
        """See `parts.Voice`."""
        self.uplinks.append(uplink)

    def unlisten(self, uplink: Uplink) -> None:
        """See `parts.Voice`."""
        self.uplinks.remove(uplink)


class _NoMixer(Mixer):
    """A box without a card, found out without a worker process."""

    async def open(self, card: str, control: str, connector: str) -> Reading:
        raise MixerError("no card")


class StandInBox:
    """The device; `async with` runs its volume and brightness."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tasks: list[asyncio.Task[None]] = []
        self.power = Power(sysfs=directory / "sys")
        self.reboot = StandInReboot()
        self.voice = StandInVoice()
        self.updates = StandInUpdates(directory / "incoming")

    def charge(self, percent: int) -> None:
        """Gives it a battery."""
        battery = self._directory / "sys/class/power_supply/BAT0"
        battery.mkdir(parents=True, exist_ok=True)
        (battery / "type").write_text("Battery\n")
        (battery / "capacity").write_text(f"{percent}\n")

    async def __aenter__(self) -> Self:
        self.charge(85)
        self.state = await State.open(self._directory / "state.db")
        self.name = await DeviceName.load(self.state, configured="PTalk", fallback="")
        self.volume = Volume(self.state, apply_to_player=lambda _percent, _muted: None)
        self.volume._mixer = _NoMixer(on_change=lambda _reading: None, on_lost=lambda _error: None)
        self.brightness = Brightness(self.state, backend="software", apply_to_screens=lambda _percent: None)
        self._tasks = [asyncio.create_task(part.run()) for part in (self.volume, self.brightness)]
        await self.volume.started()
        await self.brightness.started()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.state.close()
