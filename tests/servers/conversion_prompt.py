"""Commands for the conversion server at the mock server's prompt."""

from __future__ import annotations

from pathlib import Path

from tests.servers.conversion import ConversionServer
from tests.servers.conversion_scripts import NAMES, SCRIPTS
from tests.servers.core import Hub

HELP = f"""\
films sample | film FILE     converts it, for real
films script NAME [TITLE]    {", ".join(list(SCRIPTS)[:9])},
                             {", ".join(list(SCRIPTS)[9:])}
films old [N] | clear        completed jobs of old; forgets what is finished
films habit document | field
films outputs signed | direct
films expire | revoke        signed addresses, the token
films cancel | delete | drop the newest job, or its sockets
films list                   the jobs"""


async def run_line(hub: Hub, line: str) -> str:
    """Carries out one line; what there is to say. Raises ValueError."""
    server = hub.services.get(ConversionServer.kind)
    if not isinstance(server, ConversionServer):
        raise ValueError("no conversion server runs here")  # noqa: TRY004 - for whoever typed it
    word, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    if word in ("", "help"):
        return HELP
    if word == "list":
        return (
            "\n".join(
                f"{job.name[:60]}: {job.status} {job.progress:.0f} %, {'followed' if job.sockets else 'not followed'}"
                for job in server.jobs[:20]
            )
            or "none yet"
        )
    if word == "film":
        path = Path(rest).expanduser()
        if not path.is_file():
            raise ValueError(f"{rest}: no such file")
        server.upload(path, path.name)
    elif word == "script":
        script, _, name = rest.partition(" ")
        server.start_script(script, name or NAMES[0])
    elif word == "old":
        await server.command("old", {"count": int(rest or 45)})
    elif word in ("cancel", "delete", "drop"):
        if not server.jobs:
            raise ValueError("there is no job")
        await server.command(word, {"job_id": server.jobs[0].job_id})
    else:
        await server.command(word, {"value": rest})
    return "done"
