"""Two Tronbyt servers on one screen of a real agent that has just started."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.agent_process import AgentProcess
from tests.links.tronbyt.standins import DEVICE_ID
from tests.servers import pixels
from tests.servers.tronbyt import TronbytServer

OTHER_ID = "0a1b2c3e"


async def test_a_tie_on_a_fresh_start(tmp_path: Path, server: TronbytServer) -> None:
    """Of two with the same priority the one that is named first has the screen, although the other one's picture came first."""
    first, second = server.display(DEVICE_ID), server.display(OTHER_ID)
    links: list[Mapping[str, Any]] = [
        {"kind": "tronbyt", "name": name, "url": server.device_url(device), "spread_s": 0.2}
        for name, device in (("first", DEVICE_ID), ("second", OTHER_ID))
    ]
    async with AgentProcess(tmp_path, links=links, tables='[screens.front]\noutput = "null"') as agent:
        await server.connected(DEVICE_ID, 20.0)
        await server.connected(OTHER_ID, 20.0)
        image = pixels.encode(pixels.plain("#ff0000"))
        await second.wait_displaying(await server.send_image(OTHER_ID, image, dwell_secs=1), 20.0)
        status = await agent.until(lambda status: status["screens"]["front"]["program"] == "second")
        assert status["screens"]["front"]["waiting"] == []
        await first.wait_displaying(await server.send_image(DEVICE_ID, image, dwell_secs=1), 20.0)
        await agent.until(lambda status: status["screens"]["front"]["program"] == "first")
        await second.wait_displaying(await server.send_image(OTHER_ID, image, dwell_secs=1), 20.0)
        status = await agent.status()
        assert (status["screens"]["front"]["program"], status["screens"]["front"]["waiting"]) == ("first", ["second"])
