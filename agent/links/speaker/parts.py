"""What the speaker link needs of the device."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar


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


class Intake(Protocol):
    """Receives one bundle; ends in `Updates.install` or is abandoned."""

    async def write(self, data: bytes) -> None:
        """Written when it returns. Raises UpdateError; then everything that came is gone."""

    async def abandon(self) -> None:
        """Removes what came; does nothing once it has been installed or abandoned."""


class Report(Protocol):
    """How an update ended that nobody could be told about before."""

    @property
    def result(self) -> str:
        """committed, rolled back or refused."""

    @property
    def version(self) -> str: ...
    @property
    def cause(self) -> str:
        """A sentence; empty when committed."""


AnyIntake = TypeVar("AnyIntake", bound=Intake)


class Updates(Protocol[AnyIntake]):
    """Changes of the agent's version."""

    def check_free(self) -> None:
        """Raises UpdateError if no update can be taken now, with status device_busy while another one is under way."""

    def begin(self, by: str, *, size: int | None = None, sha256: str | None = None) -> AnyIntake:
        """Room for a bundle. Raises UpdateError, with status device_busy while another one is under way."""

    async def newest(self, by: str, version: str | None = None) -> AnyIntake:
        """Fetches that version, or the newest, from where new versions are published. Raises UpdateError."""

    async def install(self, intake: AnyIntake) -> str:
        """The version, once it has been switched to; takes minutes. Raises UpdateError."""

    def restart(self) -> None:
        """Ends the agent, so that the version that was switched to starts."""

    async def report(self, link: str) -> Report | None:
        """What is to be told on this link; None: nothing, or it was told before."""

    async def told(self, link: str) -> None:
        """It has been told; on disk when it returns."""


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
    @property
    def updates(self) -> Updates[Any]: ...
