"""Values written as text, in the environment and on the command line, become what TOML would have given."""

from __future__ import annotations

import json
import shlex
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from agent.settings.links import LINK_KINDS
from agent.settings.model import Settings

KeyPath = tuple[str, ...]
"""Names a value: ("screens", "front", "rotate"), ("links", "0", "url") with the position of the link's table."""

_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def model_at(path: KeyPath) -> list[type[BaseModel]]:
    """The models of the table at `path`: one, all kinds for a link, none where there is no table."""
    if len(path) == 2 and path[0] == "links":
        return list(LINK_KINDS.values())
    if len(path) == 2 and path[0] == "screens":
        return [get_args(Settings.model_fields["screens"].annotation)[1]]
    if len(path) == 1 and path[0] in Settings.model_fields:
        annotation = Settings.model_fields[path[0]].annotation
        return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
    return []


def value_type(path: KeyPath) -> Any:
    """The type of the value at `path`; None where there is no such key."""
    if len(path) == 4 and path[0] == "links" and path[2] == "side":
        return str
    for model in model_at(path[:-1]):
        if path[-1] in model.model_fields:
            return model.model_fields[path[-1]].annotation
    return None


def from_text(text: str, kind: Any) -> Any:
    """`text` as a value of the type `kind`; the text itself where it is none, for the model to refuse."""
    plain = text.strip()
    kinds = {get_origin(option) or option for option in _options(kind)}
    if bool in kinds:
        return _BOOLEANS.get(plain.lower(), text)
    try:
        if plain.startswith(("[", "{")) and kinds & {list, dict}:
            return json.loads(plain)
        if list in kinds:
            return shlex.split(plain)
        if int in kinds or all(type(choice) is int for choice in get_args(kind) or ("",)):
            return int(plain)
        if float in kinds:
            return float(plain)
    except ValueError:
        return text
    return text


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
