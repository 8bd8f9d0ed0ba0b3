"""What is wrong with the merged configuration, in words and with the place where the wrong value stands."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agent.settings.environment import as_variable
from agent.settings.layers import Fault, Layer, LinkNames
from agent.settings.links import LINK_KINDS, SECRET_KEYS
from agent.settings.model import DEFAULT_SCREEN, Settings
from agent.settings.text import KeyPath, model_at
from agent.settings.values import parse_optional_path, parse_url

_MESSAGES = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text in quotes",
    "list_type": "must be a list in [ ]",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "multiple_of": "must be an even number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "string_too_short": "must not be empty",
    "string_too_long": "must have {max_length} characters at most",
}
_SHOWN_CHARACTERS = 40


def model_faults(error: ValidationError, layers: list[Layer], names: LinkNames) -> Iterator[Fault]:
    """What the model refuses; `layers` begin with the highest."""
    positions = sorted(_keys(("links",), layers), key=int)
    for detail in error.errors(include_url=False):
        path = _path(detail, positions)
        if detail["type"] in {"union_tag_not_found", "union_tag_invalid"}:
            path = (*path, "kind")
        yield Fault(_place(path, layers), _message(detail, path, layers, names))


def relation_faults(layers: list[Layer]) -> Iterator[Fault]:
    """What is wrong between values that are each right by themselves."""
    screens = _keys(("screens",), layers) or [DEFAULT_SCREEN]
    for path, screen in _screen_references(layers):
        if isinstance(screen, str) and screen not in screens:
            message = f"there is no screen {screen!r}; there are: {', '.join(screens)}"
            yield Fault(_place(path, layers), message)
    positions = _keys(("links",), layers)
    named = {at: _get(("links", at, "name"), layers) or _get(("links", at, "kind"), layers) for at in positions}
    for name, count in Counter(name for name in named.values() if isinstance(name, str)).items():
        for at in [at for at in positions if named[at] == name][1:] if count > 1 else []:
            yield Fault(_place(("links", at, "name"), layers), f"there is another link called {name!r}; give each its own name")
    yield from _device_faults(positions, layers)
    yield from _card_faults(screens, layers)


def file_faults(layers: list[Layer]) -> Iterator[Fault]:
    """What is wrong with the certificates that are named."""
    for at in _keys(("links",), layers):
        path = ("links", at, "ca_file")
        file = _get(path, layers)
        with contextlib.suppress(ValueError):  # no path: the model says so
            if file is not None and (parsed := parse_optional_path(file)) and (fault := _certificate_fault(parsed)):
                yield Fault(_place(path, layers), fault)


def _certificate_fault(file: Path) -> str:
    import ssl  # noqa: PLC0415 - costs the start of the agent more than everything else here

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:  # an OSError, too
        return f"{file} holds no certificate in PEM form"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    return ""


def _screen_references(layers: list[Layer]) -> Iterator[tuple[KeyPath, Any]]:
    for at in _keys(("links",), layers):
        yield ("links", at, "screen"), _get(("links", at, "screen"), layers)
        side = _get(("links", at, "side"), layers)
        if isinstance(side, dict):
            yield from ((("links", at, "side", key), screen) for key, screen in side.items())


def _device_faults(positions: list[str], layers: list[Layer]) -> Iterator[Fault]:
    """A Tronbyt server knows a device by its address, and one connection of it only: two links would drop each other."""
    first: dict[tuple[bool, str | None, int, str], str] = {}
    for at in positions:
        url = _get(("links", at, "url"), layers)
        if _get(("links", at, "kind"), layers) != "tronbyt" or not isinstance(url, str):
            continue
        try:
            key = _device(parse_url(url))
        except ValueError:  # the model says so
            continue
        if key in first:
            message = f"link {first[key]!r} is the same device of the same server; give each its own id"
            yield Fault(_place(("links", at, "url"), layers), message)
        else:
            first[key] = str(_get(("links", at, "name"), layers) or "tronbyt")


def _device(url: str) -> tuple[bool, str | None, int, str]:
    """The same for every form of a Tronbyt device's address."""
    parts = urlsplit(url)
    secure = parts.scheme in ("https", "wss")
    path = parts.path.rstrip("/").removesuffix("/ws").removesuffix("/next")
    return secure, parts.hostname, parts.port or (443 if secure else 80), path


def _card_faults(screens: list[str], layers: list[Layer]) -> Iterator[Fault]:
    """A DRM card has one master, so two workers cannot share one."""
    sysfs = _get(("hardware", "sysfs"), layers)
    root = Path(sysfs) if isinstance(sysfs, str) else Path("/sys")
    taken: dict[str, str] = {}
    for screen in screens:
        path = ("screens", screen, "output")
        output = _get(path, layers)
        if not isinstance(output, str) or not output.startswith("drm:"):
            continue
        card = _card_of(output.removeprefix("drm:"), root)
        if card in taken:
            message = (
                f"screen {taken[card]!r} drives the same graphics card, which can have one master only; "
                "run a kiosk Wayland compositor (cage, labwc) or X11 and say output = 'wayland' or 'x11' for both"
            )
            yield Fault(_place(path, layers), message)
        taken.setdefault(card, screen)


def _card_of(connector: str, sysfs: Path) -> str:
    """The card that has the connector; where none is found, all connectors count as one card's, as on every Raspberry Pi."""
    found = sorted((sysfs / "class/drm").glob(f"card*-{connector}"))
    return found[0].name.partition("-")[0] if found else "card"


def _path(detail: ErrorDetails, positions: list[str]) -> KeyPath:
    location = [str(part) for part in detail["loc"] if part != "[key]"]
    if len(location) > 1 and location[0] == "links":
        location[1] = positions[int(location[1])]
    if len(location) > 2 and location[0] == "links" and location[2] in LINK_KINDS:
        del location[2]
    if location[0] in Settings.model_fields and location[0] not in {"links", "screens"}:
        return tuple(location[:2])  # within a list the key is place enough
    return tuple(location)


def _message(detail: ErrorDetails, path: KeyPath, layers: list[Layer], names: LinkNames) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(path, layers)
    if kind == "missing" or (kind in {"too_short", "string_too_short"} and path[0] == "links"):
        return _missing(path, names)
    if kind == "union_tag_not_found":
        return f"missing: one of {', '.join(LINK_KINDS)}"
    if kind == "value_error":
        message = str(context["error"])
    elif kind == "union_tag_invalid":
        message = f"must be one of {', '.join(LINK_KINDS)}"
    elif kind == "literal_error":
        message = f"must be one of {context['expected'].replace(' or ', ', ')}"
    elif kind in _MESSAGES:
        message = _MESSAGES[kind].format_map({key: _plain(value) for key, value in context.items()})
    else:
        message = detail["msg"].replace("Input should be", "must be")
    return message + _shown(detail, path)


def _shown(detail: ErrorDetails, path: KeyPath) -> str:
    """The wrong value, except where it is or may hold a secret, or is said already."""
    value = detail["input"]
    if detail["type"] == "union_tag_invalid":
        value = detail.get("ctx", {}).get("tag")
    if path[-1] in SECRET_KEYS | {"url", "source_url", "connect_to"} or isinstance(value, (dict, list)) or len(path) < 2:
        return ""
    text = ("true" if value else "false") if isinstance(value, bool) else repr(value)
    return f", not {text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + '...'}"


def _plain(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, (int, float)) else str(value)


def _unknown(path: KeyPath, layers: list[Layer]) -> str:
    if len(path) == 1:
        what, known = "table", [*Settings.model_fields]
    else:
        what, known = "key", sorted({key for model in _models(path, layers) for key in model.model_fields})
    import difflib  # noqa: PLC0415 - memory: most configurations have no faults

    close = difflib.get_close_matches(path[-1], known, n=1)
    return f"unknown {what}" + (f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}")


def _models(path: KeyPath, layers: list[Layer]) -> list[Any]:
    kind = _get((*path[:2], "kind"), layers) if path[0] == "links" else None
    return [LINK_KINDS[kind]] if isinstance(kind, str) and kind in LINK_KINDS else model_at(path[:-1])


def _missing(path: KeyPath, names: LinkNames) -> str:
    if path[0] == "links" and len(path) == 3 and path[2] in SECRET_KEYS:
        name = names.label(path[1]).removeprefix("links.")
        variable = f"SIGNAGE_AGENT_LINK_{as_variable(name)}__{path[2].upper()}"
        return f"missing; set it here, in a file named by {path[2]}_file, as the credential {name}.{path[2]} or as {variable}"
    return "missing"


def _place(path: KeyPath, layers: list[Layer]) -> str:
    """Where the highest layer says it; what is said nowhere belongs to the lowest layer that has the table around it."""
    for layer in layers:
        if layer.get(path)[0]:
            return layer.place(path)
    for layer in reversed(layers):
        if layer.get(path[:-1])[0]:
            return layer.place(path)
    return layers[-1].place(path)


def _get(path: KeyPath, layers: list[Layer]) -> Any:
    return next((value for found, value in (layer.get(path) for layer in layers) if found), None)


def _keys(path: KeyPath, layers: list[Layer]) -> list[str]:
    keys: dict[str, None] = {}
    for layer in reversed(layers):
        table = layer.get(path)[1]
        keys.update(dict.fromkeys(table) if isinstance(table, dict) else {})
    return list(keys)
