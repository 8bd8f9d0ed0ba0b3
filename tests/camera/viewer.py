"""A viewer as a browser is one: an aiortc connection that receives, counts and reads the test picture."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiortc
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from av import VideoFrame

DEADLINE_S = 20.0


def luma(frame: VideoFrame, x: float, y: float) -> int:
    """Of the pixel at these parts of width and height."""
    plane = frame.planes[0]
    return memoryview(plane).cast("B")[int(y * frame.height) * plane.line_size + int(x * frame.width)]


def read_row(frame: VideoFrame, row: int) -> int | None:
    """The number in that row of blocks; None if there is none to be read."""
    blocks = [luma(frame, (i + 0.5) / 32, (row + 0.5) / 18) > 128 for i in range(32)]
    bits = blocks[2:30]
    if blocks[:2] != [True, False] or blocks[31] or blocks[30] != bool(sum(bits) % 2):
        return None
    return sum(bit << (27 - i) for i, bit in enumerate(bits))


class Viewer:
    """Makes an offer, takes the answer, and looks.

    `codec` H264 or VP8: knows only that one.
    """

    def __init__(
        self,
        *,
        codec: str = "",
        audio: str = "",
        data: bool = False,
        direction: str = "recvonly",
        servers: Sequence[aiortc.RTCIceServer] = (),
        relay_only: bool = False,
    ) -> None:
        self.numbers: list[int] = []
        """Frame numbers read from the pictures."""
        self.sizes: set[tuple[int, int]] = set()
        self.first_at = 0.0
        self._changed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self.connection = aiortc.RTCPeerConnection(
            aiortc.RTCConfiguration(
                iceServers=list(servers),
                iceTransportPolicy=RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL,
            )
        )
        self.connection.on("track", self._track)
        self.connection.on("connectionstatechange", self._changed.set)
        if audio == "before":
            self.connection.addTransceiver("audio", "recvonly")
        if direction:
            transceiver = self.connection.addTransceiver("video", direction)
            if codec:
                known = aiortc.RTCRtpSender.getCapabilities("video").codecs
                transceiver.setCodecPreferences([one for one in known if one.name.upper() == codec or one.name == "rtx"])
        if audio == "after":
            self.connection.addTransceiver("audio", "recvonly")
        if data:
            self.connection.createDataChannel("data")

    @property
    def state(self) -> str:
        """Of the connection."""
        return self.connection.connectionState

    async def offer(self) -> str:
        """SDP with all candidates."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def accept(self, sdp: str) -> None:
        """Takes the answer."""
        await self.connection.setRemoteDescription(aiortc.RTCSessionDescription(sdp, "answer"))

    async def sees(self, more: int = 2) -> None:
        """Waits for that many further pictures whose number can be read."""
        goal = len(self.numbers) + more
        await self.until(lambda: len(self.numbers) >= goal)

    async def until(self, condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        """Waits until `condition` holds; looked at after every picture and change of state."""
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"state={self.state} pictures={len(self.numbers)}") from None

    async def close(self) -> None:
        """As a page that is left."""
        async with asyncio.timeout(DEADLINE_S):
            await self.connection.close()
        if self._looking is not None:
            # A connection that never came about does not end its track.
            self._looking.cancel()
            await asyncio.wait({self._looking})

    def _track(self, track: Any) -> None:
        if track.kind == "video":
            self._looking = asyncio.create_task(self._look(track), name="viewer looks")

    async def _look(self, track: Any) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self.first_at = self.first_at or time.monotonic()
                self.sizes.add((frame.width, frame.height))
                number = read_row(frame, 0)
                if number is not None:
                    self.numbers.append(number)
                self._changed.set()


def candidates(sdp: str) -> list[str]:
    """The candidate lines of an SDP, without `a=`."""
    return [line[2:].strip() for line in sdp.splitlines() if line.startswith("a=candidate:")]


def without_candidates(sdp: str) -> str:
    """The SDP of somebody who trickles."""
    lines = sdp.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates")))
