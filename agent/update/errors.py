"""What is said of an update that does not happen."""

from __future__ import annotations

from typing import Literal


class UpdateError(Exception):
    """An update that is refused or did not happen; the text is a sentence for whoever asked for it, without secrets.

    `status` is what a server is told: "device_busy" while another update is under way.
    """

    def __init__(self, sentence: str, status: Literal["error", "device_busy"] = "error") -> None:
        super().__init__(sentence)
        self.status: Literal["error", "device_busy"] = status


class UnfitError(UpdateError):
    """A verdict on the bundle itself: this version will never take it, whatever else changes on the box."""
