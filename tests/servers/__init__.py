"""Fake servers, one module per protocol: stateful, speaking the real wire format, for tests and for people by hand.

Run `scripts/mock-server` for a server with a console page.
"""

from tests.servers.camera import SignalingServer
from tests.servers.conversion import ConversionServer
from tests.servers.core import Hub
from tests.servers.devices import Device, Message, Screenshot
from tests.servers.exchange import Request
from tests.servers.faults import Fault
from tests.servers.files import MediaFile, MediaFiles
from tests.servers.playlists import OMIT, SIDES, item, playlist, screen
from tests.servers.service import Service
from tests.servers.signage import (
    LOGIN_PATH,
    PLAYLISTS_PATH,
    REFRESH_PATH,
    REGISTER_PATH,
    SOCKET_PATH,
    SignageServer,
)
from tests.servers.speaker import SpeakerServer
from tests.servers.tronbyt import TronbytServer

__all__ = [
    "LOGIN_PATH",
    "OMIT",
    "PLAYLISTS_PATH",
    "REFRESH_PATH",
    "REGISTER_PATH",
    "SIDES",
    "SOCKET_PATH",
    "ConversionServer",
    "Device",
    "Fault",
    "Hub",
    "MediaFile",
    "MediaFiles",
    "Message",
    "Request",
    "Screenshot",
    "Service",
    "SignageServer",
    "SignalingServer",
    "SpeakerServer",
    "TronbytServer",
    "item",
    "playlist",
    "screen",
]
