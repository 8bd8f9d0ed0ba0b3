"""A bad version is sent to a box; what becomes of it."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass

from tests.display import XServer
from tests.end_to_end_update.estate import DEVICE_ID, Estate, Ground, open_estate, put_release
from tests.end_to_end_update.versions import BadVersion
from tests.update.bundles import NEXT, RUNNING


@dataclass(frozen=True)
class Verdict:
    """Where the box ended. `faults` is empty if all was as it has to be."""

    version: str
    result: str
    cause: str
    faults: tuple[str, ...] = ()


async def try_out(ground: Ground, screen: XServer, bad: BadVersion, *, built: bool = False) -> Verdict:
    """Sends a bad version over the socket; looks at the box, its record, its journal, its status and what its server is told.

    `built`: the release was built before, which saves the time; `ground` has to hold one of NEXT.
    """
    image = await asyncio.to_thread(ground.maker.bundle, NEXT, bad.changes)
    digest = hashlib.sha256(image).hexdigest()
    overrides = {"signage-agent.service": bad.overrides}
    async with open_estate(ground, screen, overrides=overrides, probation_s=bad.probation_s) as estate:
        await estate.start()
        if built and not bad.refused:
            await asyncio.to_thread(put_release, ground, NEXT, digest, bad.changes)
        pid = estate.systemd.service().main_pid
        ota = await estate.server.offer_firmware(DEVICE_ID, image, 2)
        result = await estate.result(digest)
        faults = []
        if bad.refused:
            await estate.until(lambda: len(ota.answers) > 1, "an answer to the server")
            if ota.answers[1].get("status") != "error" or not re.search(bad.cause, ota.answers[1]["message"]):
                faults.append(f"the server was told {ota.answers[1]}")
            if estate.systemd.service().main_pid != pid:
                faults.append("the agent was started again")
        else:
            # A version that fails early never gets as far as a handshake.
            await estate.until(lambda: estate.versions[-1] == RUNNING and estate.releases.current() == RUNNING, "the old version")
        status = await estate.status(lambda update: update["last_result"] is not None)
        if status["version"] != RUNNING or status["candidate"] is not None:
            faults.append(f"the status says {status}")
        told = status["last_result"]
        for where, cause in (("record", result.cause), ("status", told["cause"])):
            if not re.search(bad.cause, cause):
                faults.append(f"the {where} says {cause!r}")
        if result.result != ("refused" if bad.refused else "rolled back"):
            faults.append(f"it was {result.result}")
        if result.cause not in estate.journal:
            faults.append("the journal does not say why")
        await estate.shows_picture()
        if not bad.refused:
            faults += await _told(estate, bad, image)
        faults += leftovers(estate)
        return Verdict(estate.releases.current(), result.result, result.cause, tuple(faults))


async def _told(estate: Estate, bad: BadVersion, image: bytes) -> list[str]:
    """Whether the server hears of it once, and the same bundle is refused from now on."""
    faults = []
    await estate.until(lambda: reports(estate), "a report to the server")
    if not re.search(bad.cause, reports(estate)[0]):
        faults.append(f"the server was told {reports(estate)}")
    connections = estate.speaker.connections
    estate.server.drop(DEVICE_ID)
    await estate.until(lambda: estate.speaker.connections > connections and estate.speaker.live, "another connection")
    ota = await estate.server.offer_firmware(DEVICE_ID, image, 2)
    await estate.until(lambda: [one for one in ota.answers if one["status"] == "error"], "a refusal of the same bundle")
    if not any("taken back here before" in one.get("message", "") for one in ota.answers):
        faults.append(f"the same bundle again: {ota.answers}")
    if len(reports(estate)) != 1:
        faults.append(f"the server was told {len(reports(estate))} times")
    return faults


def reports(estate: Estate) -> list[str]:
    """What the server was told about versions that were taken back."""
    messages = [str(one.get("message", "")) for one in estate.speaker.answers()]
    return [message for message in messages if "rolled back" in message]


def leftovers(estate: Estate) -> list[str]:
    """What lies around that belongs to nothing."""
    found = [path for path in (estate.opt / "releases").iterdir() if not estate.releases.complete(path.name)]
    found += (estate.state_dir / "incoming").glob("*")
    found += [path for path in (estate.opt / "update").iterdir() if path.name.startswith(".") or path.name == "work"]
    return [f"left over: {path}" for path in found]
