"""Signs that a connection is no use (tronbyt contract, section 1)."""

from __future__ import annotations

from agent.links.tronbyt.liveness import Drops, Silence


def test_a_server_owes_an_image_after_displaying() -> None:
    """And to who has connected. It has 150 s for it; the image settles the matter until the next `displaying`."""
    silence = Silence(150)
    deadlines = [silence.deadline]
    silence.connected(900)
    deadlines.append(silence.deadline)
    silence.heard(910, image=True)
    deadlines.append(silence.deadline)
    silence.displayed(1000)
    deadlines.append(silence.deadline)
    silence.heard(1100, image=True)
    deadlines.append(silence.deadline)
    silence.displayed(1110)
    deadlines.append(silence.deadline)
    assert deadlines == [None, 1050, None, 1150, None, 1260]


def test_other_messages_are_a_sign_of_life() -> None:
    """But the image is still owed: who speaks of it and dies is found, too."""
    silence = Silence(150)
    silence.connected(800)
    silence.heard(900, image=False)
    assert silence.deadline == 1050
    silence.displayed(1000)
    silence.heard(1140, image=False)
    assert silence.deadline == 1290


def test_drops_in_a_row() -> None:
    """Some may happen; many are suspicious until a connection lasts."""
    drops = Drops(3)
    suspicious: list[bool] = []
    for lasts in (False, False, True, False, False, False, False, True):
        if lasts:
            drops.steady()
        else:
            drops.dropped()
        suspicious.append(drops.suspicious)
    assert suspicious == [False, False, False, False, False, True, True, False]
