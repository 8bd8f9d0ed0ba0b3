"""Option and command names of libmpv's versions."""

from __future__ import annotations

from agent.screen import compat

DEBIAN_12, DEBIAN_13 = (2, 0), (2, 5)


def test_background() -> None:
    """Renamed with 0.38; transparent pictures show it in both."""
    assert compat.background_option(DEBIAN_12) == "background"
    assert compat.background_option(DEBIAN_13) == "background-color"
    assert compat.start_options(DEBIAN_12)["alpha"] == "blend"
    assert compat.start_options(DEBIAN_13)["background"] == "color"


def test_loadfile() -> None:
    """0.38 put an index before the options; values may hold commas."""
    assert compat.loadfile("/a", "append", {"vf": "a,b"}, DEBIAN_12) == ("loadfile", "/a", "append", "vf=%3%a,b")
    assert compat.loadfile("/a", "replace", {"x": "1"}, DEBIAN_13) == ("loadfile", "/a", "replace", "-1", "x=%1%1")
