"""Where the configuration and the control socket are, found out without loading the settings."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

DEFAULT_SOCKET = Path("/run/signage-agent/control.sock")


class ConfigurationError(Exception):
    """The configuration does not say where the socket is; one line."""


def find_socket(config: Path | None, socket: Path | None) -> Path:
    """The control socket: as named, else as the configuration says, else the default. Raises ConfigurationError.

    Reads no more than that one key: `status` must work while the file is being edited, also for those who may not read it.
    """
    from_environment = os.environ.get("SIGNAGE_AGENT_CONTROL__SOCKET")
    if socket is not None or from_environment:
        return socket or Path(str(from_environment))
    path = config or default_config()
    if path is None:
        return DEFAULT_SOCKET
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("control", {}).get("socket", str(DEFAULT_SOCKET))
        return Path(value).expanduser()
    except PermissionError as error:
        if config is None:
            return DEFAULT_SOCKET
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from None
    except (AttributeError, TypeError):
        raise ConfigurationError(f"{path}: control.socket: must be a path in quotes") from None


def default_config() -> Path | None:
    """/etc/signage-agent/agent.toml where it is, else None."""
    path = Path("/etc/signage-agent/agent.toml")
    try:
        return path if path.exists() else None
    except PermissionError:
        return path
