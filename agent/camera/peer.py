"""One WebRTC connection to a viewer. The only module that knows aiortc; reaches into it where it has no other way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiortc
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, RtcpRrPacket, RtcpSrPacket, unpack_remb_fci
from aiortc.sdp import SessionDescription, candidate_from_sdp

from agent.camera.encoder import Codec
from agent.camera.gathering import Gathering, Names, Spawn
from agent.camera.hub import Hub, Subscription
from agent.camera.ice import RemoteCandidate, Servers, split_offer
from agent.camera.messages import LONGEST_OFFER, MOST_CANDIDATES

if TYPE_CHECKING:
    from aiortc import RTCIceTransport, RTCRtpSender, RTCRtpTransceiver
    from av import Packet

log = logging.getLogger(__name__)

MOST_SECTIONS = 8
"""Of an offer; each costs memory and time, and a viewer needs one."""
BACKLOG_BYTES = 256 * 1024
"""Not sent yet: a viewer behind a TURN server over TCP whose line is full."""


_closings: set[asyncio.Task[None]] = set()


class OfferError(Exception):
    """The offer cannot be answered; the text is for the viewer."""


@dataclass(frozen=True, slots=True)
class PeerEvents:
    """What a connection has to say, in the event loop."""

    on_state: Callable[[Peer, str], None]
    """connecting, connected, failed, closed."""
    on_candidate: Callable[[Peer, str | None], None]
    """A candidate found after the answer, as in SDP; None: there are no more."""
    on_estimate: Callable[[Peer, int], None]
    """Bits per second that the viewer's line carries."""
    on_loss: Callable[[Peer, float], None]
    """Part of the packets that were lost lately."""


@dataclass(frozen=True, slots=True)
class Gatherer:
    """How our own addresses are found."""

    servers: Servers
    names: Names
    patience_s: float
    """How long the answer waits for STUN and TURN servers."""
    longest_s: float
    """How long they are waited for in all."""
    relay_only: bool = False


class Peer:
    """A connection that sends one video track, from the stream of whichever codec was agreed on.

    `spawn` starts tasks that may outlast a call. `close` must be called in the end.
    """

    def __init__(self, number: int, hubs: Callable[[Codec], Hub], gatherer: Gatherer, spawn: Spawn, events: PeerEvents) -> None:
        self.number = number
        """Tells apart who watches; never used twice."""
        self._hubs = hubs
        self._gatherer = gatherer
        self._spawn = spawn
        self._events = events
        self._gatherings: list[Gathering] = []
        self._patched: set[int] = set()
        self._candidates = 0
        self._offer: SessionDescription | None = None
        self._video_mid = ""
        # Without a list of servers aiortc would ask Google's.
        self._connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        self._track = _Track(number, self._backlog)
        # What is preferred counts only between the making of the transceiver and the offer.
        self._video: RTCRtpTransceiver = self._connection.addTransceiver(self._track, "sendonly")
        self._video.setCodecPreferences(_preferences())
        self._listen(self._video.sender)
        self._connection.on("connectionstatechange", self._state_changed)

    @property
    def sdp_mid(self) -> str:
        """Of the section that our candidates belong to: the first, which stands for the bundle."""
        return str(self._offer.media[0].rtp.muxId) if self._offer is not None else ""

    async def answer(self, sdp: str) -> str:
        """Our answer to the offer. Raises OfferError."""
        if excess := _excess(sdp):
            raise OfferError(excess)
        sdp, candidates = split_offer(sdp)
        try:
            offer = SessionDescription.parse(sdp)
        except Exception as error:
            raise OfferError(f"the offer is no SDP that can be read: {_words(error)}") from error
        video = [media for media in offer.media if media.kind == "video"]
        if not video:
            raise OfferError("the offer has no video section")
        if not any((media.direction or "sendrecv") in {"recvonly", "sendrecv"} for media in video):
            raise OfferError("the offer does not want to receive video")
        self._offer = offer
        try:
            await self._connection.setRemoteDescription(aiortc.RTCSessionDescription(sdp, "offer"))
            if len(self._connection.getTransceivers()) > MOST_SECTIONS:
                raise ValueError("too many sections, one offer after another")
            for transceiver in self._connection.getTransceivers():
                if transceiver is not self._video:
                    transceiver.direction = "inactive"
                self._bound(transceiver.receiver.transport.transport)
            self._video_mid = str(self._video.mid or "")
            await self._connection.setLocalDescription()
        except aiortc.exceptions.OperationError as error:
            raise OfferError("the viewer knows neither H.264 nor VP8, or no audio codec of ours") from error
        except Exception as error:
            raise OfferError(f"the offer cannot be answered: {_words(error)}") from error
        answer = self._connection.localDescription.sdp
        self._track.hub = self._hubs(self._agreed(answer))
        for candidate in candidates:
            self.add(candidate)
        if any(gathering.goes_on for gathering in self._gatherings):
            # aiortc takes the end of the waiting for the end of the candidates.
            answer = answer.replace("a=end-of-candidates\r\n", "")
        return answer

    def continues(self, sdp: str) -> bool:
        """Whether this offer goes on with the present connection (the same ICE credentials) rather than start another."""
        if self._offer is None or self._connection.connectionState not in {"connecting", "connected"} or _excess(sdp):
            return False
        try:
            offer = SessionDescription.parse(split_offer(sdp)[0])
        except Exception:  # noqa: BLE001 - it will be refused where it is answered
            return False
        return bool(offer.media) and offer.media[0].ice == self._offer.media[0].ice

    def add(self, candidate: RemoteCandidate) -> None:
        """A candidate of the viewer, after the answer. Never waits: a name is looked up in a task."""
        self._candidates += 1
        if self._candidates > MOST_CANDIDATES:
            return
        transport = self._transport_for(candidate)
        if transport is not None:
            self._spawn(self._add(transport, candidate.text), "camera: adds a candidate")

    def end_of_candidates(self) -> None:
        """The viewer has no more: a connection nobody answers on may fail."""
        for transport in self._transports():
            self._spawn(self._add(transport, ""), "camera: ends the candidates")

    def stop_gathering(self) -> None:
        """The connection is there; no more addresses of ours are needed."""
        for gathering in self._gatherings:
            gathering.stop()

    async def close(self) -> None:
        """Ends the connection; may take long where a TURN server is gone."""
        self.stop_gathering()
        self._track.end()
        # Not to be broken off halfway: aiortc, which may close by itself at the same time, would trip over it.
        closing = asyncio.create_task(self._connection.close(), name="camera: closes a connection")
        _closings.add(closing)
        closing.add_done_callback(_closed)
        await asyncio.wait({closing})

    def _state_changed(self) -> None:
        self._events.on_state(self, self._connection.connectionState)

    def _found_late(self, candidate: str | None) -> None:
        self._events.on_candidate(self, candidate)

    def _transports(self) -> list[RTCIceTransport]:
        transports = {id(it): it for it in (t.receiver.transport.transport for t in self._connection.getTransceivers())}
        return list(transports.values())

    def _transport_for(self, candidate: RemoteCandidate) -> RTCIceTransport | None:
        """Where a candidate belongs: to the one transport of a bundle, whichever section it names."""
        transports = self._transports()
        if len(transports) == 1:
            return transports[0]
        for index, media in enumerate(self._offer.media if self._offer is not None else ()):
            if candidate.sdp_mid == media.rtp.muxId or (candidate.sdp_mid is None and candidate.sdp_mline_index == index):
                for transceiver in self._connection.getTransceivers():
                    if transceiver.mid == media.rtp.muxId:
                        return transceiver.receiver.transport.transport
        return None

    async def _add(self, transport: RTCIceTransport, candidate: str) -> None:
        """Empty: there are no more."""
        try:
            await transport.addRemoteCandidate(candidate_from_sdp(candidate) if candidate else None)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's candidate makes a library raise
            log.debug("candidate of a viewer cannot be used error=%r", error)

    def _bound(self, transport: RTCIceTransport) -> None:
        """Has the gathering of this transport done our way."""
        if id(transport) in self._patched:
            return
        self._patched.add(id(transport))
        how = self._gatherer
        self._gatherings.append(
            Gathering(
                transport._connection,  # noqa: SLF001 - aiortc has no way to bound the gathering
                how.servers,
                how.names,
                spawn=self._spawn,
                on_late=self._found_late,
                patience_s=how.patience_s,
                longest_s=how.longest_s,
                relay_only=how.relay_only,
            )
        )

    def _agreed(self, answer: str) -> Codec:
        """The codec that our answer puts first."""
        for media in SessionDescription.parse(answer).media:
            if media.rtp.muxId == self._video_mid and media.rtp.codecs:
                return "VP8" if media.rtp.codecs[0].name.upper() == "VP8" else "H264"
        raise OfferError("no video was agreed on")

    def _listen(self, sender: RTCRtpSender) -> None:
        """Hears what the viewer reports. aiortc keeps it to itself, hence the private names (a test covers them)."""
        handle = sender._handle_rtcp_packet  # noqa: SLF001

        async def hear(packet: Any) -> None:
            self._hear(sender, packet)
            await handle(packet)

        sender._handle_rtcp_packet = hear  # type: ignore[method-assign]  # noqa: SLF001
        sender._send_keyframe = self._track.lost  # type: ignore[method-assign]  # noqa: SLF001

    def _hear(self, sender: RTCRtpSender, packet: Any) -> None:
        if isinstance(packet, (RtcpRrPacket, RtcpSrPacket)):
            for report in packet.reports:
                if report.ssrc == sender._ssrc:  # noqa: SLF001
                    self._events.on_loss(self, report.fraction_lost / 256)
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            try:
                bps, ssrcs = unpack_remb_fci(packet.fci)
            except Exception:  # noqa: BLE001 - a malformed report says nothing
                return
            if sender._ssrc in ssrcs:  # noqa: SLF001
                self._events.on_estimate(self, bps)

    def _backlog(self) -> int:
        """Bytes that wait to be sent."""
        connection = self._video.sender.transport.transport._connection  # noqa: SLF001 - see `_listen`
        pair = connection._nominated.get(1)  # noqa: SLF001
        transport: Any = pair.protocol.transport if pair is not None else None
        inner = getattr(transport, "_TurnTransport__inner_protocol", None)
        size = getattr(inner.transport if inner is not None else transport, "get_write_buffer_size", None)
        return size() if size is not None else 0


class _Track(aiortc.MediaStreamTrack):
    """Gives aiortc pictures that are encoded already, which it only packs."""

    kind = "video"

    def __init__(self, viewer: int, backlog: Callable[[], int]) -> None:
        super().__init__()
        self.hub: Hub | None = None
        self._viewer = viewer
        self._backlog = backlog
        self._subscription: Subscription | None = None

    async def recv(self) -> Packet[Any]:
        """The next picture. Called first when the connection is there: only then is the stream joined."""
        assert self.hub is not None
        if self._subscription is None:
            self._subscription = self.hub.subscribe(self._viewer)
        while True:
            packet = await self._subscription.get()
            if self._backlog() <= BACKLOG_BYTES:
                return packet
            self._subscription.skip()

    def lost(self) -> None:
        """The viewer asks for a keyframe."""
        if self.hub is not None:
            self.hub.lost(self._viewer)

    def end(self) -> None:
        """Leaves the stream."""
        if self.hub is not None:
            self.hub.unsubscribe(self._viewer)
        self.stop()


def _excess(sdp: str) -> str:
    """What of the offer is too much even to be parsed; empty: nothing."""
    if len(sdp) > LONGEST_OFFER:
        return f"the offer is longer than {LONGEST_OFFER} characters"
    if sum(line.startswith("m=") for line in sdp.splitlines()) > MOST_SECTIONS:
        return f"the offer has more than {MOST_SECTIONS} sections"
    return ""


def _preferences() -> list[Any]:
    """H.264 constrained baseline before other H.264, VP8 for those without; retransmission with each."""
    capabilities = aiortc.RTCRtpSender.getCapabilities("video").codecs

    def rank(codec: Any) -> int:
        kind = codec.mimeType.lower()
        if kind == "video/h264":
            return 0 if codec.parameters.get("profile-level-id") == "42e01f" else 1
        return {"video/vp8": 2, "video/rtx": 3}.get(kind, 9)

    return sorted((codec for codec in capabilities if rank(codec) < 9), key=rank)


def _closed(closing: asyncio.Task[None]) -> None:
    _closings.discard(closing)
    if not closing.cancelled() and (error := closing.exception()) is not None:
        log.debug("a connection did not close cleanly error=%r", error)


def _words(error: Exception) -> str:
    return f"{error}" or type(error).__name__
