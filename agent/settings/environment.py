"""The layer of the environment variables: SIGNAGE_AGENT_<TABLE>__<KEY> and SIGNAGE_AGENT_LINK_<NAME>__<KEY>."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agent.settings.layers import Fault, Layer, LinkNames
from agent.settings.links import SECRET_KEYS
from agent.settings.model import DEFAULT_SCREEN
from agent.settings.text import KeyPath, from_text, value_type

PREFIX = "SIGNAGE_AGENT_"
INTERNAL_VARIABLES = frozenset({"SIGNAGE_AGENT_CHANNEL_FD"})
"""Set by the agent for its own children; no part of the configuration."""


def environment_layer(environ: Mapping[str, str], below: Layer, names: LinkNames, faults: list[Fault]) -> Layer:
    """What the variables say; `below` is the file, which tells which screens there are.

    A screen that the file does not have is made by its OUTPUT, a link by its KIND; anything else about them is a fault.
    """
    layer = _EnvironmentLayer(names)
    variables = {
        name: text for name, text in sorted(environ.items()) if name.startswith(PREFIX) and name not in INTERNAL_VARIABLES
    }
    known = {as_variable(name) for _, name in names.items()}
    for name in _made_by(variables, "LINK_", "KIND"):
        if name not in known:
            layer.put(("links", names.append(name.lower()), "name"), name.lower(), f"{PREFIX}LINK_{name}__KIND")
    screens = _screens(below.tables.get("screens"))
    for name in _made_by(variables, "SCREENS__", "OUTPUT"):
        screens.setdefault(name, name.lower())
    for name, text in variables.items():
        try:
            path = _path(name.removeprefix(PREFIX), names, screens)
            kind = value_type(path)
            if kind is None and not (path[-1].endswith("_file") and path[-1].removesuffix("_file") in SECRET_KEYS):
                raise ValueError("unknown variable")
        except ValueError as error:
            faults.append(Fault(name, str(error)))
        else:
            layer.put(path, from_text(text, kind), name)
    return layer


def as_variable(name: str) -> str:
    """A name as it stands in a variable: `lobby-2` → `LOBBY_2`."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


class _EnvironmentLayer(Layer):
    def place(self, path: KeyPath) -> str:
        if path in self.places:
            return self.places[path]
        if path[0] == "links" and len(path) > 1:
            path = (f"link_{self.names.label(path[1]).removeprefix('links.')}", *path[2:])
        return PREFIX + "__".join(as_variable(key) for key in path)


def _made_by(variables: Mapping[str, str], table: str, key: str) -> list[str]:
    found = (re.fullmatch(f"{PREFIX}{table}([A-Z0-9][A-Z0-9_]*)__{key}", name) for name in variables)
    return [match[1] for match in found if match]


def _screens(tables: Any) -> dict[str, str]:
    names = list(tables) if isinstance(tables, dict) and tables else [DEFAULT_SCREEN]
    return {as_variable(name): name for name in names}


def _path(rest: str, names: LinkNames, screens: dict[str, str]) -> KeyPath:
    """What the variable PREFIX + `rest` names. Raises ValueError."""
    for table, entries in (("LINK_", [(as_variable(name), at) for at, name in names.items()]), ("SCREENS__", [*screens.items()])):
        if not rest.startswith(table):
            continue
        rest = rest.removeprefix(table)
        fitting = [entry for entry in entries if rest.startswith(f"{entry[0]}__")]
        if not fitting:
            there = names.unknown() if table == "LINK_" else f"no screen is called so; there are: {', '.join(screens.values())}"
            raise ValueError(f"unknown variable: {there}")
        name, position = max(fitting, key=lambda entry: len(entry[0]))
        if sum(entry[0] == name for entry in entries) > 1:
            raise ValueError("names two links: their names differ in case or punctuation only")
        keys = rest.removeprefix(f"{name}__").lower().split("__")
        return ("links" if table == "LINK_" else "screens", position, *keys)
    return tuple(rest.lower().split("__"))
