"""A source of the configuration is a layer: what it says, and where it says it. Here: the file and the command line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.settings.text import KeyPath, from_text, value_type


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the configuration. `place` is where an installer finds it."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class LinkNames:
    """Which link stands at which position, whatever source it came from.

    Links are kept by position because a name is itself a value that may be missing or wrong.
    """

    def __init__(self) -> None:
        self._names: list[str | None] = []

    def append(self, name: Any) -> str:
        """A further link, with its name if it has a usable one; its position."""
        self._names.append(name if isinstance(name, str) else None)
        return str(len(self._names) - 1)

    def position(self, name: str) -> str | None:
        """Of the first link called `name`."""
        return str(self._names.index(name)) if name in self._names else None

    def items(self) -> Iterator[tuple[str, str]]:
        """Position and name of every link that has a name of its own."""
        for number, name in enumerate(self._names):
            if name is not None and self._names.index(name) == number:
                yield str(number), name

    def label(self, position: str) -> str:
        """What people call the link: `links.main`, or `links[2]` where the name says nothing."""
        name = self._names[int(position)]
        if name is None or self._names.index(name) != int(position):
            return f"links[{int(position) + 1}]"
        return f"links.{name}"

    def dotted(self, path: KeyPath) -> str:
        """A path as people write it."""
        return ".".join((self.label(path[1]), *path[2:]) if len(path) > 1 and path[0] == "links" else path)

    def unknown(self) -> str:
        """The end of a sentence about a name that no link has."""
        return f"no link is called so; there are: {', '.join(name for _, name in self.items()) or 'none'}"


@dataclass
class Layer:
    """What one source says."""

    names: LinkNames
    title: str = ""
    """What stands before a path in this source's places."""
    tables: dict[str, Any] = field(default_factory=dict)
    """As in agent.toml, but `links` is a dictionary by position."""
    places: dict[KeyPath, str] = field(default_factory=dict)
    """Where single values stand, if that is not what `place` would say."""

    def place(self, path: KeyPath) -> str:
        """Where this source says, or could say, what `path` names."""
        return self.places.get(path) or f"{self.title}{self.names.dotted(path)}"

    def put(self, path: KeyPath, value: Any, place: str = "") -> None:
        """Sets one value, making the tables above it."""
        table = self.tables
        for key in path[:-1]:
            if not isinstance(table.get(key), dict):
                table[key] = {}
            table = table[key]
        table[path[-1]] = value
        if place:
            self.places[path] = place

    def get(self, path: KeyPath) -> tuple[bool, Any]:
        """Whether this source says anything about `path`, and what."""
        value: Any = self.tables
        for key in path:
            if not isinstance(value, dict) or key not in value:
                return False, None
            value = value[key]
        return True, value

    def drop(self, path: KeyPath) -> None:
        """Forgets one value."""
        _, table = self.get(path[:-1])
        if isinstance(table, dict):
            table.pop(path[-1], None)

    def add_links(self, links: Any, faults: list[Fault]) -> None:
        """Takes in a list of links, as TOML gives it."""
        if not isinstance(links, list):
            faults.append(Fault(self.place(("links",)), "every link is a table of its own that begins with [[links]]"))
            return
        for link in links:
            if isinstance(link, dict):
                self.put(("links", self.names.append(link.get("name", link.get("kind")))), link)
            else:
                place = self.place(("links", self.names.append(None)))
                faults.append(Fault(place, "must be a table that begins with [[links]]"))


def toml_layer(path: Path, text: str, names: LinkNames, faults: list[Fault]) -> Layer:
    """What the file says. A syntax error is a fault with its line, and the layer is empty."""
    layer = _FileLayer(names, f"{path}: ", file=path)
    try:
        layer.tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        faults.append(_syntax_fault(path, text, str(error)))
        return layer
    layer.lines = _lines(text)
    if "links" in layer.tables:
        layer.add_links(layer.tables.pop("links"), faults)
    return layer


def override_layer(overrides: Mapping[str, Any], names: LinkNames, faults: list[Fault]) -> Layer:
    """What the command line says: nested tables or dotted keys, links by their name or as a list of further ones."""
    layer = Layer(names, "command line: ")
    leaves = list(_leaves(overrides, ()))
    for path, value in leaves:
        if path == ("links",):
            layer.add_links(value, faults)
        elif path[0] == "links" and path[-1] == "kind" and names.position(".".join(path[1:-1])) is None:
            name = ".".join(path[1:-1])
            layer.put(("links", names.append(name), "name"), name)
    for path, value in leaves:
        if path[0] == "links" and len(path) > 1:
            # The name of a link may hold dots: the longest one that fits is meant.
            rest = ".".join(path[1:])
            fitting = [(name, position) for position, name in names.items() if rest.startswith(f"{name}.")]
            if not fitting:
                faults.append(Fault(f"{layer.title}{'.'.join(path)}", names.unknown()))
                continue
            name, position = max(fitting, key=lambda entry: len(entry[0]))
            path = ("links", position, *rest.removeprefix(f"{name}.").split("."))
        if path != ("links",):
            layer.put(path, from_text(value, value_type(path)) if isinstance(value, str) else value)
    return layer


@dataclass
class _FileLayer(Layer):
    file: Path = Path()
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        if path in self.places:
            return self.places[path]
        line = next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)
        dotted = self.names.dotted(path)
        return f"{self.file}: {dotted}" if line is None else f"{self.file}:{line}: {dotted}"


def _lines(text: str) -> dict[KeyPath, int]:
    """Where tables and keys begin, counted from 1, as far as that shows without parsing; only for the places of faults."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    links = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]", line):
            table = _keys(match[2])
            if table == ("links",) and match[1] == "[[":
                table = ("links", str(links))
                links += 1
            elif table[:1] == ("links",) and links:
                table = ("links", str(links - 1), *table[1:])
            for end in range(1, len(table) + 1):
                lines.setdefault(table[:end], number)
        elif match := re.match(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""", line):
            keys = _keys(match[1])
            for end in range(1, len(keys) + 1):
                lines.setdefault((*table, *keys[:end]), number)
    return lines


def _keys(dotted: str) -> KeyPath:
    return tuple(quoted or plain for quoted, plain in re.findall(r"""["']([^"']*)["']|([\w-]+)""", dotted))


def _leaves(tables: Mapping[str, Any], above: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for key, value in tables.items():
        path = (*above, *key.split("."))
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, path)
        else:
            yield path, value


def _syntax_fault(path: Path, text: str, message: str) -> Fault:
    match = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", message, re.DOTALL)
    what, line = (match[1], match[2]) if match else (message.removesuffix(" (at end of document)"), text.count("\n") + 1)
    return Fault(f"{path}:{line}", f"not TOML: {what}")
