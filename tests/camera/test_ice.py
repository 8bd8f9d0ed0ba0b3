"""What of the servers and candidates of strangers can be used."""

from __future__ import annotations

import pytest

from agent.camera.ice import Servers, StunServer, TurnServer, split_offer, usable_candidate, usable_servers
from agent.camera.messages import IceServer

UDP = "candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host"


def test_the_documents_servers() -> None:
    """STUN and TURN over UDP and TCP, as the document shows them."""
    named = [
        IceServer(("stun:stun.example.com:19302",)),
        IceServer(("turn:turn.example.com:3478?transport=udp", "turn:turn.example.com:3478?transport=tcp"), "user", "word"),
    ]
    assert usable_servers(named) == Servers(
        (StunServer("stun.example.com", 19302),),
        (
            TurnServer("turn.example.com", 3478, "udp", False, "user", "word"),
            TurnServer("turn.example.com", 3478, "tcp", False, "user", "word"),
        ),
    )


def test_the_cheaper_transport_is_tried_first() -> None:
    """UDP before TCP before TLS, else in the order named; each once."""
    urls = ("turns:a", "turn:b?transport=tcp", "turn:c", "turn:d?transport=udp", "turn:c:3478?transport=UDP")
    ranked = usable_servers([IceServer(urls, "u", "p")]).turn
    assert [(server.host, server.port, server.transport, server.tls) for server in ranked] == [
        ("c", 3478, "udp", False),
        ("d", 3478, "udp", False),
        ("b", 3478, "tcp", False),
        ("a", 5349, "tcp", True),
    ]


@pytest.mark.parametrize("url", ["TURN:Host.example", "turn:192.0.2.1:1", "turn:[2001:db8::1]:3478?transport=tcp", " turn:x "])
def test_unusual_ways_to_write_a_server(url: str) -> None:
    """Capitals, addresses of both kinds, blanks around."""
    assert len(usable_servers([IceServer((url,))]).turn) == 1


@pytest.mark.parametrize(
    "url",
    [
        *("", "stun:", "turn:", "x", "http://x", "stuns:x", "stun:x?transport=udp", "turn:x?transport=sctp"),
        *("turns:x?transport=udp", "turn:x:0", "turn:x:65536", "turn:x:port", "stun:[::1]", "turn:[::g]", "turn:user@x"),
        *("turn:x/../y", "turn:x y", "turn:-x", "turn://x"),
    ],
)
def test_what_cannot_be_used_is_dropped(url: str) -> None:
    """The rest is used."""
    assert usable_servers([IceServer((url, "stun:good"), "u", "p")]) == Servers((StunServer("good", 3478),))


def test_no_more_servers_than_make_sense() -> None:
    """A long list is cut."""
    servers = usable_servers([IceServer(tuple(f"stun:s{i}" for i in range(50)) + tuple(f"turn:t{i}" for i in range(50)))])
    assert (len(servers.stun), len(servers.turn)) == (4, 4)


@pytest.mark.parametrize("text", [UDP, UDP.removeprefix("candidate:"), f"a={UDP}", f" {UDP}\r\n", UDP.replace("udp", "UDP")])
def test_a_candidate_however_it_is_written(text: str) -> None:
    """With or without what browsers put in front."""
    candidate = usable_candidate(text, "0", None)
    assert candidate is not None
    assert candidate.text == "1 1 udp 2113937151 192.0.2.7 50000 typ host"
    assert (candidate.sdp_mid, candidate.sdp_mline_index, candidate.is_named) == ("0", None, False)


@pytest.mark.parametrize(
    "text",
    [
        *("", "candidate:", "x y z", UDP.replace("udp", "tcp"), UDP.replace(" 1 udp", " 2 udp"), UDP.replace("50000", "0")),
        *(UDP.replace("50000", "70000"), UDP.replace("50000", "port"), UDP.replace("host", "guest"), UDP.replace("typ", "kind")),
        *(UDP.replace("192.0.2.7", "server.example.com"), UDP.replace("192.0.2.7", "999.0.2.7"), UDP.replace("2113937151", "-1")),
    ],
)
def test_a_candidate_that_is_none(text: str) -> None:
    """Nonsense, TCP, and names outside the local network: no stranger makes us look up a name."""
    assert usable_candidate(text, None, None) is None


def test_a_name_on_the_local_network() -> None:
    """How browsers hide addresses."""
    candidate = usable_candidate(UDP.replace("192.0.2.7", "1b2c.LOCAL"), None, 1)
    assert candidate is not None
    assert candidate.is_named
    assert usable_candidate(UDP.replace("host", "prflx"), None, 1) is not None


def test_the_candidates_are_taken_out_of_an_offer() -> None:
    """The usable ones with their section; line ends are made right, the end of candidates is forgotten."""
    lines = ["v=0", "m=audio 9 X 0", f"a={UDP}", "a=mid:0", "", "m=video 9 X 96", f"a={UDP.replace('7', '8')}"]
    sdp = "\n".join([*lines, "a=candidate:what", "a=end-of-candidates", ""])
    rest, candidates = split_offer(sdp)
    assert rest == "v=0\r\nm=audio 9 X 0\r\na=mid:0\r\nm=video 9 X 96\r\n"
    assert [(candidate.address, candidate.sdp_mline_index) for candidate in candidates] == [("192.0.2.7", 0), ("192.0.2.8", 1)]
