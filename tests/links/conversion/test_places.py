"""Who has a place, and who stands in line."""

from __future__ import annotations

from agent.links.conversion.places import Places


def test_the_line() -> None:
    """First come, first served; who leaves and enters again stands last."""
    places, called = Places(2), list[str]()
    for name in "abcd":
        places.enter(name, lambda name=name: called.append(name))  # type: ignore[misc]
    assert (called, [places.has(name) for name in "abcd"], places.crowded) == (["a", "b"], [True, True, False, False], True)
    places.leave("a")
    places.enter("a", lambda: called.append("a again"))
    assert called == ["a", "b", "c"]
    places.leave("b")
    places.leave("c")
    assert called == ["a", "b", "c", "d", "a again"]
    assert not places.crowded


def test_leaving_the_line() -> None:
    """Who is gone is not called; leaving twice changes nothing."""
    places, called = Places(1), list[str]()
    for name in "abc":
        places.enter(name, lambda name=name: called.append(name))  # type: ignore[misc]
    places.leave("b")
    places.leave("b")
    places.leave("a")
    assert called == ["a", "c"]
    places.enter("c", lambda: called.append("twice"))
    assert (called, places.has("b"), places.crowded) == (["a", "c"], False, False)
