"""Secrets: the layer of systemd's credentials, and the keys that name a file (`password_file`)."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from agent.settings.layers import Fault, Layer, LinkNames
from agent.settings.links import SECRET_KEYS
from agent.settings.text import KeyPath, from_text, value_type
from agent.system.logs import hide

_UNREADABLE = "?"
"""Stands in for a secret that could not be read, so that its key is not reported as missing besides."""


def credentials_layer(directory: Path, names: LinkNames, faults: list[Fault]) -> Layer:
    """What the files `<link>.<key>` and `secrets_<link>.<key>` say; the former counts where both are there.

    A file for no known link is no fault: a link that was taken out may leave its secrets behind.
    """
    layer = Layer(names)
    try:
        files = sorted((path for path in directory.iterdir() if path.is_file()), key=lambda path: path.name)
    except OSError as error:
        faults.append(Fault(str(directory), f"credentials cannot be read: {error.strerror}"))
        return layer
    files.sort(key=lambda file: not file.name.startswith("secrets_"))
    for file in files:
        link, _, key = file.name.rpartition(".")
        position = names.position(link) or names.position(link.removeprefix("secrets_"))
        if position is None:
            continue
        path, place = ("links", position, key), f"credential {file.name}"
        if value_type(path) is None:
            faults.append(Fault(place, f"unknown key {key!r}"))
        else:
            layer.put(path, from_text(_read(file, place, faults), value_type(path)), place)
    return layer


def unused_credentials(directory: Path, names: list[str]) -> list[str]:
    """Names of the files that belong to no link of these names."""
    known = tuple(f"{prefix}{name}." for name in names for prefix in ("", "secrets_"))
    return sorted(path.name for path in directory.iterdir() if path.is_file() and not path.name.startswith(known))


def resolve_secret_files(layers: list[Layer], base: Path, faults: list[Fault]) -> None:
    """Puts the content of `password_file` and its like in place of the key; `layers` begin with the highest.

    Relative paths are relative to `base`. Only the file that counts is read: a secret from a higher layer spares it.
    Every secret is wrapped, so that nothing that prints a layer prints it.
    """
    positions = {position for layer in layers for position in layer.tables.get("links", {})}
    for position, key in itertools.product(sorted(positions, key=int), sorted(SECRET_KEYS)):
        path, file_path = ("links", position, key), ("links", position, f"{key}_file")
        settled = False
        for layer in layers:
            (has_value, value), (has_file, file) = layer.get(path), layer.get(file_path)
            layer.drop(file_path)
            if has_file and has_value and file and value:
                faults.append(Fault(layer.place(file_path), f"say {key} or {key}_file, not both"))
            elif has_file and file and not settled:
                place = layer.place(file_path)
                layer.put(path, _secret_in(file, base, place, faults), place)
            settled = settled or has_value or has_file
            _hide(path, layer)


def _hide(path: KeyPath, layer: Layer) -> None:
    found, value = layer.get(path)
    if found and isinstance(value, str) and value:
        hide(value, pinned=True)
        layer.put(path, SecretStr(value))


def _secret_in(file: Any, base: Path, place: str, faults: list[Fault]) -> str:
    if not isinstance(file, str):
        faults.append(Fault(place, "must be a path in quotes"))
        return _UNREADABLE
    return _read(base / Path(file).expanduser(), place, faults)


def _read(file: Path, place: str, faults: list[Fault]) -> str:
    """The file without the line end that editors add."""
    try:
        text = file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        faults.append(Fault(place, f"{file} cannot be read: {error.strerror}"))
    except UnicodeDecodeError:
        faults.append(Fault(place, f"{file} is not UTF-8 text"))
    else:
        if text:
            return text
        faults.append(Fault(place, f"{file} is empty"))
    return _UNREADABLE
