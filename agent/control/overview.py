"""The status document of a running agent (design, section 5)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

from agent import __version__
from agent.control.status import JobStatus, LinkStatus, PlaylistStatus, ScreenStatus, Status, UpdateStatus, timestamp
from agent.screen.proxy import Screen
from agent.system import clock

if TYPE_CHECKING:
    from agent.control.running import RunningAgent
    from agent.links.link import Link


def overview(agent: RunningAgent) -> dict[str, Any]:
    """The document as it is now, read from the parts."""
    device = agent.device
    document: Status = {
        "version": __version__,
        "uptime_s": round(time.monotonic() - agent.started_at, 1),
        "device": {
            "serial": device.identity.serial,
            "device_id": device.identity.device_id,
            "name": device.name.value,
        },
        "volume": {
            "percent": device.volume.percent,
            "muted": device.volume.muted,
            "backend": device.volume.backend,
        },
        "brightness": {"percent": device.brightness.percent, "backend": device.brightness.backend},
        "screens": {name: _screen(screen) for name, screen in device.screens.items()},
        "playlists": [cast("PlaylistStatus", entry) for link in agent.links for entry in link.playlists()],
        "downloads": [
            {"name": download.name, "received_bytes": download.received_bytes, "total_bytes": download.total_bytes}
            for download in device.media.downloads()
        ],
        "jobs": [cast("JobStatus", entry) for link in agent.links for entry in link.jobs()],
        "links": [_link(link) for link in agent.links],
        "camera": {"source": device.camera.source, "viewers": device.camera.viewers, "encoder": device.camera.encoder or None},
        "update": cast("UpdateStatus", device.updates.status()),
        "warnings": _warnings(agent),
    }
    return dict(document)


def _link(link: Link) -> LinkStatus:
    return {
        "name": link.name,
        "kind": link.kind,
        "state": link.state,
        "since": timestamp(link.since),
        "attempts": link.attempts,
        "last_error": link.last_error or None,
    }


def _screen(screen: Screen) -> ScreenStatus:
    status = screen.stage.status(asyncio.get_running_loop().time())
    playing, ticker = status.playing, screen.stage.ticker
    document: dict[str, Any] = {
        "state": playing.state if screen.up else "down",
        "program": status.program,
        "playlist_id": playing.playlist_id,
        "media_id": playing.media_id,
        "media_index": playing.media_index,
        "title": playing.title or None,
        "since": timestamp(screen.since),
        "position_s": playing.position_s if playing.media_id is not None else None,
        "overlay": None if ticker is None else {"text": ticker.text, "position": ticker.position, "animation": ticker.motion},
        "worker_restarts": screen.restarts,
        "waiting": list(status.waiting),
        "strip": list(status.strip),
        "cause": screen.cause or None,
    }
    return document  # type: ignore[return-value]  # more keys than people were promised


def _warnings(agent: RunningAgent) -> list[str]:
    warnings = list(agent.health.warnings())
    if agent.device.brightness.warning:
        warnings.append(agent.device.brightness.warning)
    warnings += agent.device.media.warnings()
    if agent.device.state.trouble:
        warnings.append(agent.device.state.trouble)
    warnings += agent.device.voice.warnings()
    warnings += [warning for link in agent.links for warning in link.warnings()]
    if any(link.clock_fault for link in agent.links) and not clock.is_set():
        warnings.append("the clock is not set: certificates cannot be checked; connect the box to a time server")
    return warnings
