"""The voice worker: `python -m agent.voice.worker`, started by `agent.voice.proxy`.

A process, because a call into a sound driver or a sound server may hang; then it no longer answers its pings and is replaced.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys

from agent.screen.sound import hush
from agent.system import logs
from agent.system.wire import Done, Ping
from agent.system.worker import Channel, open_channel
from agent.voice.button import Button, ButtonError, open_button
from agent.voice.messages import TO_WORKER, Finished, Output, Trouble
from agent.voice.microphone import Microphone
from agent.voice.player import Player
from agent.voice.stream import Kind, Stream, meet

log = logging.getLogger(__name__)


class Voice:
    """Everything in the process. `microphone` and `button` as configured; both, or there is no push to talk."""

    def __init__(self, channel: Channel, address: str, microphone: str, button: str) -> None:
        self._channel = channel
        self._troubles: dict[str, str] = {}
        self._talks = 0
        self._player = Player(
            say=channel.send,
            finished=lambda number: channel.send(Finished(number)),
            trouble=lambda text: self._trouble("output", text),
        )
        self._address = address
        self._stream: Stream | None = None
        self._microphone = Microphone(
            microphone,
            start=lambda: self._up(Kind.BEGIN),
            frame=lambda data: self._up(Kind.FRAME, data),
            end=lambda: self._up(Kind.END),
            trouble=lambda text: self._trouble("microphone", text),
        )
        self._button: Button | None = None
        if microphone and button:
            try:
                self._button = open_button(button, self._on_button)
            except ButtonError as error:
                self._trouble("button", str(error))
            else:
                self._trouble("button", "")

    async def run(self) -> None:
        """Until the daemon hangs up."""
        async for message, request_id in self._channel.messages():
            match message:
                case Output():
                    self._player.set_output(message)
                    if self._stream is None:
                        # Not before: an announcement must not begin on another device.
                        try:
                            connection = meet(self._address)
                        except OSError as error:
                            log.debug("the daemon has hung up already error=%s", error)
                            return
                        self._stream = Stream(connection, self._on_packet)
                case Ping():
                    self._channel.send(Done(), request_id=request_id)

    def close(self) -> None:
        """Silence."""
        if self._button is not None:
            self._button.close()
        self._player.close()
        self._microphone.close()
        if self._stream is not None:
            self._stream.close()

    def _on_packet(self, kind: Kind, session: int, data: bytes) -> None:
        match kind:
            case Kind.BEGIN:
                self._player.begin(session, data[0] if data else 0)
            case Kind.FRAME:
                self._player.frame(session, data)
            case Kind.END:
                self._player.end(session)
            case Kind.STOP:
                self._player.stop(session)

    def _on_button(self, pressed: bool) -> None:
        log.debug("button pressed=%s", pressed)
        if pressed:
            self._player.stop_all()
            self._microphone.open()
        else:
            self._microphone.close()

    def _up(self, kind: Kind, data: bytes = b"") -> None:
        self._talks += kind is Kind.BEGIN
        if self._stream is not None:
            self._stream.send(kind, self._talks, data)

    def _trouble(self, part: str, text: str) -> None:
        if self._troubles.get(part) != text:
            self._troubles[part] = text
            self._channel.send(Trouble(part, text))


async def _run(options: argparse.Namespace) -> None:
    channel = await open_channel(TO_WORKER)
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    voice = Voice(channel, options.stream, options.microphone, options.button)
    try:
        await voice.run()
    except asyncio.CancelledError:
        log.debug("ended by a signal")
    finally:
        voice.close()


def main() -> int:
    """Runs the worker; returns its exit code."""
    parser = argparse.ArgumentParser(prog="agent.voice.worker", description="Plays announcements, records push to talk.")
    parser.add_argument("--stream", required=True, help="where the sound comes from and goes to")
    parser.add_argument("--microphone", default="", help="ALSA capture PCM; empty: none")
    parser.add_argument("--button", default="", help="gpio:CHIP/LINE, key:NAME or terminal:PATH; empty: none")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    options = parser.parse_args()
    logs.setup(options.log_level)
    hush()
    asyncio.run(_run(options))
    # A sound server that hangs must not hold up the end.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
