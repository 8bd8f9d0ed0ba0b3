"""The process of one screen: `python -m agent.screen.worker`, started and supervised by the daemon.

Ends when the daemon hangs up, on SIGTERM, or after saying Down when the output cannot be opened or was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from agent.screen import decoders, screenshot, sound
from agent.screen.compat import software_gl_options
from agent.screen.files import Files, UnplayableError
from agent.screen.messages import TO_WORKER, UNPLAYABLE, Down, Probe, Scene, Screenshot, Shot
from agent.screen.output import Output, OutputError
from agent.screen.projector import OutputLostError, Projector
from agent.system import logs
from agent.system.child import STANDBY
from agent.system.heap import limit_arenas
from agent.system.wire import Begin, Done, Ping
from agent.system.worker import Channel, open_channel

log = logging.getLogger(__name__)

OPEN_S = 9.0
"""For the output to present its first picture; the daemon waits 10 s before it goes on without."""
CLOSE_S = 0.6


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a worker; the exit code is 0 when it was ended, 1 when its output was lost."""
    limit_arenas(2)
    sound.hush()
    code = asyncio.run(_run(sys.argv[1:] if arguments is None else arguments))
    # A decoder or a display server that hangs must not hold up the end.
    os._exit(code)


async def _run(arguments: Sequence[str]) -> int:
    channel = await open_channel((Begin, *TO_WORKER))
    if list(arguments) == [STANDBY]:
        async for message, _ in channel.messages():
            if isinstance(message, Begin):
                arguments = message.arguments
                break
        else:
            return 0
    options = _parser().parse_args(arguments)
    logs.setup(options.log_level)
    ending = asyncio.current_task()
    assert ending is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.cancel)
    projector: Projector | None = None
    code = 0
    try:
        output = Output.parse(options.output, options.mode, options.window, os.environ)
        files = Files(decoders.detect(), options.hwdec, options.first_frame_s)
        projector = Projector(
            output_options={
                **output.options(),
                **({} if output.has_gpu(os.environ) else software_gl_options()),
                **sound.options(sound=options.sound, device=options.audio_device),
                "title": f"signage-agent {options.name}",
            },
            vo=output.vo,
            null_size=output.null_size(),
            rotate=options.rotate,
            files=files,
            idle_image=options.idle_image,
            first_frame_s=options.first_frame_s,
            say=channel.send,
        )
        async with asyncio.TaskGroup() as group:
            showing = group.create_task(projector.run(OPEN_S), name="shows scenes")
            await _listen(channel, projector, files, group)
            showing.cancel()
    except* (OutputError, OutputLostError) as errors:
        reason = str(_first(errors))
        log.debug("screen is down name=%s reason=%s", options.name, reason)
        channel.send(Down(reason))
        code = 1
    except* asyncio.CancelledError:
        log.debug("ended by a signal name=%s", options.name)
    await _close(channel, projector)
    return code


async def _listen(channel: Channel, projector: Projector, files: Files, group: asyncio.TaskGroup) -> None:
    def answer_ping(request_id: int | None) -> None:
        projector.player.post("expand-text", "here", then=lambda _: channel.send(Done(), request_id=request_id))

    async for message, request_id in channel.messages():
        match message:
            case Scene():
                projector.apply(message)
            case Ping():
                answer_ping(request_id)
            case Screenshot(path):
                group.create_task(_screenshot(channel, projector, path, request_id), name=f"writes {path}")
            case Probe():
                group.create_task(_probe(channel, files, message, request_id), name=f"probes {message.path}")


async def _screenshot(channel: Channel, projector: Projector, path: str, request_id: int | None) -> None:
    try:
        await screenshot.write(projector.player, projector.screen, path)
    except screenshot.ScreenshotError as error:
        channel.send(Done(str(error)), request_id=request_id)
    else:
        channel.send(Done(), request_id=request_id)


async def _probe(channel: Channel, files: Files, message: Probe, request_id: int | None) -> None:
    try:
        await files.probe(Shot(0, message.path, message.kind))
    except UnplayableError as error:
        channel.send(Done(str(error) if error.temporary else f"{UNPLAYABLE}{error}"), request_id=request_id)
    else:
        channel.send(Done(), request_id=request_id)


async def _close(channel: Channel, projector: Projector | None) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await channel.close()
            if projector is not None:
                await asyncio.to_thread(projector.player.close)
    except TimeoutError:
        log.debug("the player does not end in time")


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent.screen.worker", description="Shows what the daemon says on one screen.")
    parser.add_argument("--output", default="auto", help="auto, x11, wayland, null or drm:CONNECTOR")
    parser.add_argument("--mode", default="auto", help="WIDTHxHEIGHT@HZ of a drm output")
    parser.add_argument("--window", default="", help="WIDTHxHEIGHT: a window instead of the full screen")
    parser.add_argument("--rotate", type=int, choices=(0, 90, 180, 270), default=0, help="clockwise, in degrees")
    parser.add_argument("--hwdec", default="auto", help="hardware decoder, as libmpv names it")
    parser.add_argument("--idle-image", default="", help="what stands on an idle screen")
    parser.add_argument("--audio-device", default="", help="as libmpv names it; empty: its own choice")
    parser.add_argument("--name", default="screen", help="of the screen, for logs and the window's title")
    parser.add_argument("--sound", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--first-frame-s", type=float, default=10.0, help="seconds a file has for its first frame")
    return parser


if __name__ == "__main__":
    sys.exit(main())
