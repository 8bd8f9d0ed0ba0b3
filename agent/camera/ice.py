"""STUN and TURN servers and candidates, as they come from the other side: what of them can be used. No I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agent.camera.messages import IceServer

STUN_PORT = 3478
TLS_PORT = 5349
MOST_SERVERS = 4
"""Of each kind; more make gathering slower, not better."""

_URL = re.compile(
    r"(?P<scheme>stun|turn|turns):"
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:\?transport=(?P<transport>[A-Za-z]+))?",
    re.ASCII,
)
_SCHEME = re.compile(r"[a-zA-Z]+(?=:)")


@dataclass(frozen=True, slots=True)
class StunServer:
    """Tells us our address as seen from outside."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TurnServer:
    """Relays for us."""

    host: str
    port: int
    transport: Literal["udp", "tcp"]
    tls: bool
    username: str
    credential: str


@dataclass(frozen=True, slots=True)
class Servers:
    """Those that may be contacted, in the order in which they are tried."""

    stun: tuple[StunServer, ...] = ()
    turn: tuple[TurnServer, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoteCandidate:
    """A candidate of the viewer, without `candidate:` in front."""

    text: str
    sdp_mid: str | None = None
    sdp_mline_index: int | None = None

    @property
    def address(self) -> str:
        """An IP address, or a name; names end in .local."""
        return self.text.split()[4]

    @property
    def is_named(self) -> bool:
        """Whether the address must be asked for by mDNS, which takes up to a second."""
        return self.address.lower().endswith(".local")


def usable_servers(named: Sequence[IceServer]) -> Servers:
    """What of the servers named can be used; the rest is dropped.

    TURN over UDP comes before TCP, and TCP before TLS: the cheaper transport is tried first.
    """
    stun: dict[StunServer, None] = {}
    turn: dict[TurnServer, None] = {}
    for server in named:
        for url in server.urls:
            parsed = _parse(url, server.username, server.credential)
            if isinstance(parsed, StunServer):
                stun[parsed] = None
            elif parsed is not None:
                turn[parsed] = None
    ranked = sorted(turn, key=lambda server: (server.tls, server.transport == "tcp"))
    return Servers(tuple(stun)[:MOST_SERVERS], tuple(ranked)[:MOST_SERVERS])


def usable_candidate(text: str, sdp_mid: str | None, sdp_mline_index: int | None) -> RemoteCandidate | None:
    """The candidate in a form that can be used; None for nonsense, for TCP, and for names that are not `.local`.

    A name in a candidate is only ever asked for on the local network.
    """
    text = text.strip().removeprefix("a=").removeprefix("candidate:")
    bits = text.split()
    if len(bits) < 8 or bits[2].lower() != "udp" or bits[6] != "typ" or bits[7] not in {"host", "srflx", "prflx", "relay"}:
        return None
    try:
        component, priority, port = int(bits[1]), int(bits[3]), int(bits[5])
    except ValueError:
        return None
    if component != 1 or not 0 <= priority < 1 << 32 or not 0 < port < 1 << 16:
        return None
    if bits[7] == "prflx":
        bits[7] = "srflx"
    candidate = RemoteCandidate(" ".join([bits[0], "1", "udp", *bits[3:]]), sdp_mid, sdp_mline_index)
    if not candidate.is_named:
        try:
            ipaddress.ip_address(candidate.address)
        except ValueError:
            return None
    return candidate


def split_offer(sdp: str) -> tuple[str, list[RemoteCandidate]]:
    """The offer without candidates, and the candidates it held.

    Taken out because a `.local` one would hold up the answer, and because the end of candidates must not be said too early.
    """
    kept: list[str] = []
    candidates: list[RemoteCandidate] = []
    section = -1
    for line in sdp.splitlines():
        if line.startswith("m="):
            section += 1
        if line.startswith("a=candidate:"):
            candidate = usable_candidate(line, None, max(section, 0))
            if candidate is not None:
                candidates.append(candidate)
        elif line and line != "a=end-of-candidates":
            kept.append(line)
    return "".join(f"{line}\r\n" for line in kept), candidates


def _parse(url: str, username: str, credential: str) -> StunServer | TurnServer | None:
    url = _SCHEME.sub(lambda match: match[0].lower(), url.strip(), count=1)
    match = _URL.fullmatch(url)
    if match is None:
        return None
    host = match["ipv6"] or match["host"]
    if match["ipv6"]:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return None
    scheme, transport = match["scheme"], (match["transport"] or "").lower()
    port = int(match["port"] or (TLS_PORT if scheme == "turns" else STUN_PORT))
    if not 0 < port < 1 << 16:
        return None
    if scheme == "stun":
        # Server-reflexive candidates are asked for from IPv4 sockets.
        return StunServer(host, port) if not transport and not match["ipv6"] else None
    if scheme == "turns":
        return TurnServer(host, port, "tcp", True, username, credential) if transport in {"", "tcp"} else None
    match transport:
        case "" | "udp":
            return TurnServer(host, port, "udp", False, username, credential)
        case "tcp":
            return TurnServer(host, port, "tcp", False, username, credential)
    return None
