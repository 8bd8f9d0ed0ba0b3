"""Panel backlights in sysfs (kernel: Documentation/ABI/stable/sysfs-class-backlight)."""

from __future__ import annotations

import math
from pathlib import Path

TYPE_PREFERENCE = ("firmware", "platform", "raw")
"""As the kernel's documentation recommends where several interfaces drive one panel."""
UDEV_RULES = "/etc/udev/rules.d/60-signage-agent.rules"


class BrightnessError(Exception):
    """The brightness cannot be set now; says why, and what to do where something can be done."""


class Backlight:
    """The preferred backlight below `sysfs`, or all of them if several are of the same type. Calls block.

    `minimum` is percent of the hardware's range: 0 % sets that. `bl_power` is never touched.
    """

    name = "backlight"

    def __init__(self, sysfs: Path, minimum: int) -> None:
        self._minimum = minimum
        self.panels = _panels(sysfs / "class/backlight")
        if not self.panels:
            raise BrightnessError("there is no backlight")

    def write(self, percent: int) -> int:
        """Sets all panels; returns the raw value the first one took. Raises BrightnessError."""
        for panel in self.panels:
            path = panel / "brightness"
            try:
                path.write_text(str(self._raw(panel, percent)))
            except PermissionError:
                raise BrightnessError(
                    f"no permission to write {path}: the udev rule in {UDEV_RULES} gives it to the group video; "
                    "the agent's user must be in that group"
                ) from None
            except OSError as error:
                raise BrightnessError(f"{path} cannot be written: {error.strerror}") from None
        return self.read()

    def read(self) -> int:
        """The raw value of the first panel. Raises BrightnessError."""
        return _number(self.panels[0] / "brightness")

    def percent(self, raw: int) -> int:
        """What `raw` is between `minimum` and the hardware's most."""
        most = _number(self.panels[0] / "max_brightness")
        least = _least(most, self._minimum)
        return min(100, max(0, round(100 * (raw - least) / (most - least)))) if most > least else 100

    def _raw(self, panel: Path, percent: int) -> int:
        most = _number(panel / "max_brightness")
        least = _least(most, self._minimum)
        return least + round(percent / 100 * (most - least))


def _least(most: int, minimum: int) -> int:
    return math.ceil(most * minimum / 100)


def _panels(directory: Path) -> list[Path]:
    by_type: dict[str, list[Path]] = {}
    for panel in sorted(directory.glob("*")):
        try:
            usable = _number(panel / "max_brightness") > 0 and (panel / "brightness").exists()
            kind = (panel / "type").read_text().strip()
        except (BrightnessError, OSError):
            kind, usable = "raw", (panel / "max_brightness").exists()
        if usable:
            by_type.setdefault(kind, []).append(panel)
    for kind in (*TYPE_PREFERENCE, *by_type):
        if kind in by_type:
            return by_type[kind]
    return []


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise BrightnessError(f"{path} cannot be read: {error}") from None
