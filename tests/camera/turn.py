"""A TURN and STUN server of its own for a test: coturn, on this machine only."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.camera.messages import IceServer

USER, PASSWORD = "viewer", "relay-password"
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Turn:
    """A running server."""

    port: int
    log: Path

    def server(self, transport: str = "udp", credential: str = PASSWORD) -> IceServer:
        """As the viewer's server would name it."""
        return IceServer((f"turn:{HOST}:{self.port}?transport={transport}",), USER, credential)

    @property
    def stun(self) -> IceServer:
        """The same server, asked for addresses only."""
        return IceServer((f"stun:{HOST}:{self.port}",))

    def allocations(self) -> int:
        """How many relays have been given out."""
        return self.log.read_text().count("ALLOCATE processed, success")

    def given_back(self) -> int:
        """How many relays have been given up by those who had them."""
        return len(re.findall(r"refreshed, .*username=<viewer>, lifetime=0", self.log.read_text()))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[Turn]:
    """Runs coturn until the block ends."""
    port = free_port()
    log = directory / "turn.log"
    arguments = ["-n", "-v", "--no-cli", "--no-tls", "--no-dtls", "--lt-cred-mech", "--allow-loopback-peers"]
    arguments += ["-u", f"{USER}:{PASSWORD}", "-r", "test", "-L", HOST, "-p", str(port), "-E", HOST, "--simple-log"]
    arguments += ["--log-file", "stdout", "--pidfile", str(directory / "turn.pid"), "--userdb", str(directory / "turn.db")]
    with log.open("wb") as output, subprocess.Popen(["turnserver", *arguments], stdout=output, stderr=output) as process:
        try:
            until = time.monotonic() + 10
            while "UDP listener opened" not in log.read_text() or "auth thread" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.02)
            yield Turn(port, log)
        finally:
            process.kill()
