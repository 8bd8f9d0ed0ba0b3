"""The mock server for people: `scripts/mock-server`, or `python -m tests.servers`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from tests.servers.camera import DEVICE_PATH, SignalingServer
from tests.servers.conversion import ConversionServer
from tests.servers.demo import furnish
from tests.servers.make_media import make_media, media_names
from tests.servers.prompt import read_prompt
from tests.servers.signage import PASSWORD, USERNAME, SignageServer
from tests.servers.speaker import SOCKET_PATH, SpeakerServer
from tests.servers.tronbyt import TronbytServer
from tests.servers.tronbyt_devices import demo_apps

CHECKOUT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Serves until SIGINT, SIGTERM or `quit`; 1 if it cannot listen or has no media."""
    options = _options()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        prepare_media(options.media)
        return asyncio.run(_serve(options))
    except (OSError, RuntimeError) as error:
        sys.stderr.write(f"mock-server: {error}\n")
        return 1


def prepare_media(directory: Path) -> None:
    """Makes the demo's media in `directory`, unless it holds files of somebody's own. Raises RuntimeError without ffmpeg."""
    if directory.is_dir() and any(
        path.name not in media_names() and not path.name.startswith(".") for path in directory.iterdir()
    ):
        return
    make_media(directory, report=lambda line: _say(f"made {line}"))


async def _serve(options: argparse.Namespace) -> int:
    server = SignageServer(username=options.username, password=options.password, host=options.host, port=options.port)
    SignalingServer(hub=server.hub)
    SpeakerServer(hub=server.hub)
    feeds = TronbytServer(hub=server.hub, apps=demo_apps())
    films = ConversionServer(hub=server.hub)
    furnish(server, options.media)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with server, asyncio.TaskGroup() as tasks:
        _say(f"console: {server.url}/")
        _say(f"agents:  url {server.url}, username {options.username}, password {options.password}")
        _say(f"cameras: url {server.url.replace('http', 'ws', 1)}{DEVICE_PATH}")
        _say(f"speakers: url {server.url.replace('http', 'ws', 1)}{SOCKET_PATH}")
        _say(f"feeds: url {feeds.device_url('0a1b2c3d')} or any other eight hex digits")
        _say(f"films: url {films.url}, token {films.rest.token}, session_cookie {films.rest.cookie}")
        prompt = None
        if sys.stdin.isatty():
            _say("help lists the commands")
            prompt = tasks.create_task(read_prompt(server, stopped.set), name="prompt")
        await stopped.wait()
        if prompt is not None:
            prompt.cancel()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mock-server",
        description="Servers for signage, cameras, speakers, pixel feeds and film conversion in one, with a console page.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s; 0.0.0.0 for the whole network)")
    parser.add_argument("--port", type=int, default=8800, help="port (%(default)s; 0 takes a free one)")
    parser.add_argument("--media", type=Path, default=CHECKOUT / ".demo" / "media", help="directory of images and videos")
    parser.add_argument("--username", default=USERNAME, help="what agents log in with (%(default)s)")
    parser.add_argument("--password", default=PASSWORD, help="(%(default)s)")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
