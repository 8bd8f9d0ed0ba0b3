"""What the speaker link needs of the device."""

from __future__ import annotations

from typing import Protocol


class Level(Protocol):
    """Volume or brightness."""

    percent: int

    async def started(self) -> None:
        """Returns once `percent` is what was set last, or is known not to be applicable yet."""

    async def set(self, percent: int) -> None:
        """In force at once, on disk when it returns. Raises StateError."""


class Name(Protocol):
    """What the device is called."""

    @property
    def value(self) -> str: ...

    async def set(self, name: str) -> None:
        """On disk when it returns. Raises StateError."""


class Power(Protocol):
    """Where the electricity comes from."""

    async def battery_percent(self) -> int:
        """100 on mains without a battery."""

    def uptime_s(self) -> float:
        """Since the machine started."""


class Reboot(Protocol):
    """Restart of the machine."""

    async def refusal(self) -> str:
        """What is known beforehand to stand in the way; empty: nothing."""

    async def request(self) -> None:
        """Restarts it. Raises RebootError with the reason when the platform refuses."""


class Uplink(Protocol):
    """Takes what the microphone hears, from the event loop."""

    def start(self) -> None: ...
    def frame(self, data: bytes) -> None: ...
    def end(self) -> None: ...


class Voice(Protocol):
    """The device's speaker and microphone, for several links."""

    def begin(self, speaker: object, *, priority: int = 0) -> None:
        """Of sessions that wait to be heard, that of the highest priority comes next."""

    def frame(self, speaker: object, data: bytes) -> None: ...
    def end(self, speaker: object) -> None: ...
    def stop(self, speaker: object) -> None: ...
    def attach(self, speaker: object) -> None:
        """From now on this speaker may begin at any moment."""

    def detach(self, speaker: object) -> None:
        """Undoes `attach`."""

    def listen(self, uplink: Uplink) -> None: ...
    def unlisten(self, uplink: Uplink) -> None: ...


class Box(Protocol):
    """The device."""

    @property
    def volume(self) -> Level: ...
    @property
    def brightness(self) -> Level: ...
    @property
    def name(self) -> Name: ...
    @property
    def power(self) -> Power: ...
    @property
    def reboot(self) -> Reboot: ...
    @property
    def voice(self) -> Voice: ...
