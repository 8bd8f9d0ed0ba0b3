"""What is right by the rules of the configuration and may still surprise its owner. Said by `check` and `doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.settings.credentials import unused_credentials
from agent.settings.model import Settings
from agent.update.release import elsewhere
from agent.update.slots import STATE_DIR


def remarks(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """One sentence each. None of these keeps the agent from starting: what is missing today may be there tomorrow."""
    if not settings.links:
        yield "no [[links]]: the box has no server to listen to"
    for link in settings.links:
        if link.ca_file is not None and not link.ca_file.is_file():
            yield f"links.{link.name}.ca_file: there is no file {link.ca_file}"
    for name, screen in settings.screens.items():
        if screen.idle_image is not None and not screen.idle_image.is_file():
            yield f"screens.{name}.idle_image: there is no file {screen.idle_image}"
        if screen.window and screen.output not in {"auto", "x11", "wayland"}:
            yield f"screens.{name}.window: has no effect with output {screen.output!r}"
    if not any(screen.sound for screen in settings.screens.values()):
        yield "no screen has sound = true: videos are silent"
    if (settings.update.trusted_keys or settings.update.source_url) and settings.device.state_dir != STATE_DIR:
        yield f"device.state_dir: [update] has no effect: {elsewhere(settings.device.state_dir)}"
    directory = Path(environ.get("CREDENTIALS_DIRECTORY", ""))
    if environ.get("CREDENTIALS_DIRECTORY") and directory.is_dir():
        for name in unused_credentials(directory, [link.name for link in settings.links]):
            yield f"credential {name}: belongs to no link"
