"""agent.media.ledger"""

from __future__ import annotations

from agent.media.files import Stamp
from agent.media.ledger import Claim, Entry, Ledger, Victim
from agent.media.wants import Want, part_name

DIGESTS = [f"md5:{number:032x}" for number in range(10)]
WANTS = [Want(f"http://h/{number}", str(number), 100, f"{number:032X}") for number in range(10)]


def ledger(count: int = 4) -> Ledger:
    """With files of 100 bytes; the higher the number, the later it was used."""
    filled = Ledger()
    filled.load([Entry(DIGESTS[number], Stamp(100, 1), 0, number, str(number)) for number in range(count)], {})
    return filled


def gone(victims: list[Victim] | None) -> list[str | None] | None:
    """Digests of the victims."""
    return None if victims is None else [victim.digest for victim in victims]


def test_nothing_goes_while_there_is_room() -> None:
    """Within quota and reserve nothing is evicted."""
    assert ledger().victims(100, quota_bytes=500, reserve_bytes=50, free_bytes=150) == []


def test_least_recently_used_goes_first() -> None:
    """Just as many as needed, the least recently used first."""
    assert gone(ledger().victims(150, quota_bytes=400, reserve_bytes=0, free_bytes=1 << 40)) == DIGESTS[:2]


def test_reserve_counts_too() -> None:
    """What the disk lacks decides when the quota has room."""
    assert gone(ledger().victims(100, quota_bytes=1 << 40, reserve_bytes=200, free_bytes=250)) == DIGESTS[:1]


def test_kept_and_held_stay() -> None:
    """Neither a reference nor a file on a screen is ever chosen; without enough others nothing goes at all."""
    books = ledger()
    books.keep("playlist", [WANTS[0]])
    books.hold("screen", [DIGESTS[2]])
    limits = {"reserve_bytes": 0, "free_bytes": 1 << 40, "quota_bytes": 400}
    assert gone(books.victims(200, **limits)) == [DIGESTS[1], DIGESTS[3]]
    assert books.victims(201, **limits) is None
    books.keep("playlist", [])
    books.hold("screen", [])
    assert books.needed() == set()
    assert gone(books.victims(201, **limits)) == DIGESTS[:3]


def test_keep_resolves_addresses() -> None:
    """A want without a checksum protects the file its address gave."""
    books = ledger()
    books.sources["http://h/x"] = DIGESTS[0]
    books.keep("playlist", [Want("http://h/x", "x")])
    assert books.needed() == {DIGESTS[0]}


def test_malformed_checksums_do_not_disturb() -> None:
    """One impossible want does not spoil the others of its owner."""
    books = ledger()
    books.keep("playlist", [Want("http://h/x", "x", None, "junk"), WANTS[1]])
    assert books.needed() == {DIGESTS[1]}


def test_promised_room_is_taken() -> None:
    """What running downloads have yet to receive is neither free in the store nor on the disk."""
    books = ledger(2)
    books.claims["a.part"] = Claim(expected_bytes=300, received_bytes=100)
    assert books.used_bytes() == 500
    assert gone(books.victims(100, quota_bytes=600, reserve_bytes=0, free_bytes=300)) == []
    assert gone(books.victims(100, quota_bytes=600, reserve_bytes=0, free_bytes=299)) == [DIGESTS[0]]
    assert gone(books.victims(100, quota_bytes=599, reserve_bytes=0, free_bytes=300)) == [DIGESTS[0]]


def test_order_of_the_dispensable() -> None:
    """Strangers' parts, then unverified files, then files, and parts that wait for another try last."""
    books = ledger(1)
    books.unverified[DIGESTS[5]] = 100
    books.parts = {"stranger.part": 100, part_name(WANTS[6]): 100}
    books.keep("playlist", [WANTS[6]])
    victims = books.victims(400, quota_bytes=400, reserve_bytes=0, free_bytes=1 << 40)
    assert victims == [
        Victim(100, part="stranger.part"),
        Victim(100, digest=DIGESTS[5]),
        Victim(100, digest=DIGESTS[0]),
        Victim(100, part=part_name(WANTS[6])),
    ]


def test_absurd_size_evicts_nothing() -> None:
    """A size beyond any disk is refused without deleting anything."""
    assert ledger().victims(1 << 80, quota_bytes=1 << 40, reserve_bytes=0, free_bytes=1 << 40) is None


def test_stamps_never_run_backwards() -> None:
    """A clock set back to 1970, or forth and back, keeps the order of use."""
    books = Ledger()
    stamps = [books.tick(now) for now in (1.7e9, 0.0, 5.0, 4e9, 1.7e9)]
    assert stamps == sorted(set(stamps))
    again = Ledger()
    again.load([Entry(DIGESTS[0], Stamp(1, 1), 0, 4e9, "")], {})
    assert again.tick(0.0) > 4e9
