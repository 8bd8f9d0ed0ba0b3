"""A link as the configuration describes it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from agent.links import registry
from agent.links.conversion.link import ConversionLink
from agent.settings import load_settings
from agent.system.logs import redact
from tests.links.conversion.standins import ProbingScreen

LINK = """
[screens.front]
[screens.rear]
output = "null"
[[links]]
kind = "conversion"
name = "films"
url = "https://films.example/cast"
screen = "rear"
priority = 55
token = "9944b09199c62bcf"
session_cookie = "c00k1e-0f-the-user"
job = "550E8400-E29B-41D4-A716-446655440000"
play = "enqueue"
connect_to = "10.0.0.7:9000"
"""


def make(folder: Path, text: str) -> tuple[Any, dict[str, ProbingScreen]]:
    path = folder / "agent.toml"
    path.write_text(text)
    screens = {"front": ProbingScreen(), "rear": ProbingScreen()}
    device = cast("Any", SimpleNamespace(state=None, media=None, screens=screens))
    link = registry.make_link(load_settings(path, environ={}).links[0], device)
    assert isinstance(link, ConversionLink)
    return link, screens


async def test_every_key(tmp_path: Path) -> None:
    """Each ends where it is used; the secrets are hidden from the first moment on."""
    link, screens = make(tmp_path, LINK)
    assert (link.name, link.kind) == ("films", "conversion")
    assert link._job == "550e8400-e29b-41d4-a716-446655440000"
    assert (link.films._screen, link.films._priority, link.films._after_item) == (screens["rear"], 55, True)
    assert link._delivery._connect_to == "10.0.0.7:9000"
    assert link._with_cookie
    assert link._rest.root == "https://films.example/cast"
    assert redact("9944b09199c62bcf c00k1e-0f-the-user") == "[hidden] [hidden]"
    await link._rest.close()


async def test_the_least(tmp_path: Path) -> None:
    """A server without authentication needs no more than its address."""
    link, screens = make(tmp_path, '[screens.front]\n[[links]]\nkind = "conversion"\nurl = "http://films.example"\n')
    assert (link._job, link._with_cookie, link._around.store_only, link.films._after_item) == ("all", False, False, False)
    assert link.films._screen is screens["front"]
