"""Screenshots for the server, now and then (signage contract, section 2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from agent.links.link import RefusedError, UnavailableError
from agent.links.signage.rest import SignageRest
from agent.screen.proxy import Screen
from agent.system.logs import Trouble

log = logging.getLogger(__name__)


async def upload_forever(
    screen: Screen, rest: SignageRest, serial: str, path: Path, *, every_s: float, form: str, is_connected: Callable[[], bool]
) -> None:
    """Sends what is on `screen` every `every_s` seconds while connected; `path` is where a picture lies meanwhile."""
    trouble = Trouble(log)
    while True:
        await asyncio.sleep(every_s)
        if not is_connected() or not screen.up:
            continue
        try:
            await screen.screenshot(path)
            picture = await asyncio.to_thread(path.read_bytes)
            media_id = screen.stage.status(asyncio.get_running_loop().time()).playing.media_id
            await rest.send_screenshot(serial, media_id, picture, form)
            trouble.over("screenshots are sent again")
        except (RuntimeError, OSError, RefusedError, UnavailableError) as error:
            trouble.is_("no screenshot sent", error)
        except Exception as error:
            log.debug("no screenshot sent", exc_info=error)
            trouble.is_("no screenshot sent", f"internal error: {type(error).__name__}: {error}")
