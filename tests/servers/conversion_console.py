"""The fake conversion server's part of the console page: what is shown, what its buttons do, films that are dropped on it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

from aiohttp import web

from tests.servers import conversion_ffmpeg as ffmpeg
from tests.servers.conversion_jobs import ConversionJob, Habit
from tests.servers.conversion_outputs import Form, Ranges
from tests.servers.conversion_scripts import NAMES, SCRIPTS
from tests.servers.exchange import refusal
from tests.servers.signage import SignageServer

if TYPE_CHECKING:
    from tests.servers.conversion import ConversionServer

JOBS_SHOWN = 12
MOST_WAITING = 8
"""Films that may wait for their conversion."""


def shown(server: ConversionServer) -> dict[str, Any]:
    """What the page shows."""
    rest, outputs = server.rest, server.outputs
    return {
        "url": server.url,
        "token": rest.token,
        "cookie": rest.cookie,
        "ffmpeg": ffmpeg.available(),
        "largest_bytes": ffmpeg.LARGEST_BYTES,
        "habit": server.habit,
        "outputs": outputs.form,
        "ranges": outputs.ranges,
        "authentication": rest.authentication,
        "requires_2fa": rest.requires_2fa,
        "refuse_sockets": server.refuse_sockets,
        "locked": rest.locked,
        "logins": rest.logins,
        "looks": rest.looks,
        "listeners": len(server.jobs_sockets),
        "complaints": server.complaints[-5:],
        "scripts": [{"name": name, "title": title} for name, (title, _) in SCRIPTS.items()],
        "names": NAMES,
        "count": len(server.jobs),
        "jobs": [job.state() for job in server.jobs[:JOBS_SHOWN]],
        "screen": _screen(server),
    }


async def answer_command(server: ConversionServer, name: str, args: Mapping[str, Any]) -> None:
    """Carries out a command. Raises ValueError for what makes no sense."""
    if name in ("cancel", "delete", "drop", "close", "send"):
        await _to_job(server, name, args)
    elif name == "sample":
        _room(server)
        await server.upload_sample()
    elif name == "script":
        server.start_script(str(args["script"]), str(args["name"])[:1000])
    elif name == "old":
        if not 1 <= (count := int(args.get("count", 45))) <= 500:
            raise ValueError("1 to 500 jobs of old")
        server.add_old(count)
    elif name == "clear":
        for job in [one for one in server.jobs if one.finished]:
            server.delete(job)
    else:
        _set(server, name, args.get("value"))
    server.hub.changed()


async def store_upload(server: ConversionServer, request: web.Request) -> web.StreamResponse:
    """Takes in a film as the body of a request and has it converted."""
    name = request.query.get("name", "film")[:1000] or "film"
    path = server.directory / f"{uuid.uuid4()}.film"
    size = 0
    try:
        _room(server)
        if (request.content_length or 0) > ffmpeg.LARGEST_BYTES:
            raise ValueError(f"films above {ffmpeg.LARGEST_BYTES // 1_000_000} MB are not taken here")
        with path.open("wb") as file:
            async for piece in request.content.iter_chunked(256 * 1024):
                size += len(piece)
                if size > ffmpeg.LARGEST_BYTES:
                    raise ValueError(f"films above {ffmpeg.LARGEST_BYTES // 1_000_000} MB are not taken here")
                file.write(piece)
        if not size:
            raise ValueError("the file is empty")
    except ValueError as error:
        path.unlink(missing_ok=True)
        return refusal(400, str(error))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return web.json_response({"job_id": server.upload(path, name).job_id})


def require_own_page(request: web.Request) -> None:
    """Raises 403 for a request that another page makes."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise web.HTTPForbidden


async def _to_job(server: ConversionServer, name: str, args: Mapping[str, Any]) -> None:
    job = server.job(str(args["job_id"]))
    if job is None:
        raise ValueError("no such job")
    if name == "cancel" and job.finished:
        raise ValueError("it is over already")
    if name == "close":
        await server.close(job, int(args.get("code", 1000)))
    elif name == "send":
        await server.tell(job, args["message"])
    else:
        {"cancel": server.cancel, "delete": server.delete, "drop": server.drop}[name](job)


def _set(server: ConversionServer, name: str, value: Any) -> None:
    """The commands that take nothing, or one value."""
    if name == "habit" and value in get_args(Habit):
        server.habit = value
    elif name == "outputs" and value in get_args(Form):
        server.outputs.form = value
    elif name == "ranges" and value in get_args(Ranges):
        server.outputs.ranges = value
    elif name == "refuse_sockets":
        server.refuse_sockets = bool(value)
    elif name in ("authentication", "requires_2fa"):
        setattr(server.rest, name, bool(value))
    elif name == "unlock":
        server.rest.failed_logins = 0
    elif name == "expire":
        server.outputs.expire()
    elif name == "revoke":
        server.rest.renew_token()
    else:
        raise ValueError(f"no such command: {name} {value}")


def _room(server: ConversionServer) -> None:
    """Raises ValueError if too many films wait."""
    if not ffmpeg.available():
        raise ValueError("ffmpeg is missing: install the package of that name")
    waiting = [job for job in server.jobs if _waits(job)]
    if len(waiting) > MOST_WAITING:
        raise ValueError(f"{len(waiting)} films wait already")


def _waits(job: ConversionJob) -> bool:
    return job.source is not None and not job.finished


def _screen(server: ConversionServer) -> dict[str, Any] | None:
    """The newest screenshot that a box gave to the signage server, if there is one in this process."""
    signage = server.hub.services.get(SignageServer.kind)
    if not isinstance(signage, SignageServer):
        return None
    found = [(device.serial, device.state()["screenshot"]) for device in signage.devices.values()]
    pictures = [{**picture, "device": serial} for serial, picture in found if picture]
    return max(pictures, key=lambda picture: picture["wall_ms"]) if pictures else None
