"""Loading: command line over environment over systemd credentials over the TOML file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from agent.settings.credentials import credentials_layer, resolve_secret_files
from agent.settings.environment import environment_layer
from agent.settings.faults import file_faults, model_faults, relation_faults
from agent.settings.layers import Fault, Layer, LinkNames, override_layer, toml_layer
from agent.settings.model import Settings


class SettingsError(Exception):
    """The configuration is faulty. `faults` has one line for each fault, with its place and without secrets."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def load_settings(
    path: Path | None,
    overrides: Mapping[str, Any] = MappingProxyType({}),
    *,
    environ: Mapping[str, str] | None = None,
    check_files: bool = False,
) -> Settings:
    """The settings from all sources; reads files, so a running loop calls it in a thread.

    `path`: the TOML file; None: none. `overrides`: what the command line says, as nested tables or with dotted keys
    ("screens.front.output", "links.main.url"). `environ`: os.environ unless given. `check_files`: files that are named count,
    too; the agent itself starts without them. Raises SettingsError with all faults.
    """
    environ = os.environ if environ is None else environ
    names, faults = LinkNames(), list[Fault]()
    file = Layer(names) if path is None else toml_layer(path, _text(path), names, faults)
    if faults and not file.tables:
        raise SettingsError([str(fault) for fault in faults])
    variables = environment_layer(environ, file, names, faults)
    command_line = override_layer(overrides, names, faults)
    directory = environ.get("CREDENTIALS_DIRECTORY")
    credentials = credentials_layer(Path(directory), names, faults) if directory else Layer(names)
    layers = [command_line, variables, credentials, file]
    resolve_secret_files(layers, path.parent if path else Path(), faults)
    faults.extend(relation_faults(layers))
    if check_files:
        faults.extend(file_faults(layers))
    try:
        settings = Settings.from_layers([layer.tables for layer in layers])
    except ValidationError as error:
        faults.extend(model_faults(error, layers, names))
    else:
        if not faults:
            return settings
    raise SettingsError(list(dict.fromkeys(str(fault) for fault in faults))) from None


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError([f"{path}:{line}: not UTF-8 text"]) from None
