"""The command line, as its users run it: as a process, against a real control socket."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import __version__
from agent.control.place import DEFAULT_SOCKET, find_socket
from agent.control.server import ControlServer
from agent.settings import Settings
from tests.control.conftest import PICTURE, StandIn

SIGNAGE = '[[links]]\nkind = "signage"\nurl = "https://s"\nusername = "u"\npassword = "hush"\n'


class Result:
    """How a process ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code, self.raw, self.out, self.err = code, out, out.decode(errors="replace"), err.decode()


async def run(*arguments: str | Path, environ: dict[str, str] | None = None, stdin: bytes = b"") -> Result:
    """Runs `signage-agent` to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environ(environ),
    )
    out, err = await asyncio.wait_for(process.communicate(stdin), 20)
    assert process.returncode is not None
    return Result(process.returncode, out, err)


def _environ(more: dict[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SIGNAGE_AGENT_", "JOURNAL_STREAM"))}
    return {**kept, **(more or {})}


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


@pytest.fixture
async def socket_path(stand_in: StandIn, tmp_path: Path) -> AsyncIterator[Path]:
    path = tmp_path / "control.sock"
    server = ControlServer(stand_in, path, push_interval_s=0.05, look_interval_s=0.1)
    await server.start()
    yield path
    await server.close()


@pytest.fixture
def config(tmp_path: Path, socket_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(f"{SIGNAGE}[control]\nsocket = '{socket_path}'\n")
    return path


async def imported(code: str) -> set[str]:
    """The words that `code` prints in an interpreter of its own, where no coverage is measured: that imports much itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        stdout=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
    )
    return set((await process.communicate())[0].decode().split())


async def test_version_and_help() -> None:
    """Both are there at once: nothing heavy is imported for them."""
    begun = time.monotonic()
    version, option, overview = await run("version"), await run("--version"), await run("--help")
    assert time.monotonic() - begun < 3
    assert version.out == option.out == f"signage-agent {__version__}\n"
    for command in ("run", "check", "status", "screenshot", "doctor", "logs", "play", "update", "version"):
        assert re.search(rf"^    {command}\s", overview.out, re.MULTILINE)
    code = "import sys, agent.cli\nagent.cli.main(['version'])\nprint(*sys.modules)"
    assert not {"pydantic", "aiohttp", "asyncio", "http.client", "json"} & await imported(code)


async def test_status_imports_neither_pydantic_nor_aiohttp(socket_path: Path) -> None:
    """`status` is quick on a slow box."""
    code = f"import sys, agent.cli\nagent.cli.main(['status', '--socket', {str(socket_path)!r}])\nprint(*sys.modules)"
    assert not {"pydantic", "aiohttp", "asyncio"} & await imported(code)


@pytest.mark.parametrize("arguments", [[], ["dance"], ["status", "--socket"], ["check", "--set", "loud"], ["play"]])
async def test_wrong_usage(arguments: list[str]) -> None:
    """2, as everywhere."""
    result = await run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert "usage: signage-agent" in result.err


async def test_check(config: Path) -> None:
    """A good configuration: 0, what is in it, and what may surprise."""
    result = await run("check", "--config", config, "--set", "screens.front.idle_image=/none.png")
    assert result.code == 0
    assert result.out.splitlines() == [f"{config}: no faults", "screens: front (auto)", "links: signage (signage)"]
    assert result.err == "note: screens.front.idle_image: there is no file /none.png\n"


@pytest.mark.parametrize("command", ["check", "run"])
async def test_faults_in_the_configuration(tmp_path: Path, command: str) -> None:
    """78 and one line for each fault; under journald each is marked as an error."""
    path = tmp_path / "agent.toml"
    path.write_text("[log]\nlevel = 1\ncolour = 'red'\n" + SIGNAGE.replace("https", "ftp"))
    result = await run(command, "--config", path, environ={"SIGNAGE_AGENT_X": "1"})
    assert result.code == 78
    assert result.out == ""
    assert result.err.splitlines() == [
        "SIGNAGE_AGENT_X: unknown variable",
        f"{path}:2: log.level: must be one of 'debug', 'info', 'warning', 'error', not 1",
        f"{path}:3: log.colour: unknown key; there are: level",
        f"{path}:6: links.signage.url: must begin with http://, https://, ws://, wss://",
    ]
    journal = await run(command, "--config", path, environ={"JOURNAL_STREAM": "8:1"})
    assert all(line.startswith("<3>") for line in journal.err.splitlines())


async def test_check_of_a_missing_file(tmp_path: Path) -> None:
    """A file that is named has to be there."""
    result = await run("check", "--config", tmp_path / "none.toml")
    assert (result.code, result.err) == (78, f"{tmp_path}/none.toml: cannot be read: No such file or directory\n")


async def test_status(config: Path, socket_path: Path, stand_in: StandIn) -> None:
    """For people and for programs; the socket comes from the configuration or the command line."""
    people = await run("status", "--config", config)
    assert people.code == 0
    assert people.out.startswith("Lobby (LOBBY-01)  version")
    assert "\x1b" not in people.out
    programs = await run("status", "--json", "--socket", socket_path)
    assert json.loads(programs.out) == stand_in.document
    one = await run("status", "--json", "--screen", "rear", "--socket", socket_path)
    assert list(json.loads(one.out)["screens"]) == ["rear"]
    none = await run("status", "--screen", "left", "--socket", socket_path)
    assert (none.code, none.err) == (1, "signage-agent: no screen is called 'left'; there are: front, rear\n")


@pytest.mark.parametrize("command", [["status"], ["status", "--watch"], ["screenshot", "x.jpg"], ["play", __file__]])
async def test_no_agent(tmp_path: Path, command: list[str]) -> None:
    """3, and a sentence."""
    result = await run(*command, "--socket", tmp_path / "none.sock")
    assert (result.code, result.out) == (3, "")
    assert result.err == f"signage-agent: no agent answers at {tmp_path}/none.sock: No such file or directory\n"


async def test_a_faulty_configuration_on_the_way_to_the_socket(tmp_path: Path, socket_path: Path) -> None:
    """A file that is no TOML is 78; one that is being edited and still says where the socket is does."""
    path = tmp_path / "agent.toml"
    path.write_text("[control\n")
    assert (await run("status", "--config", path)).code == 78
    path.write_text("[control]\nsocket = 3\n")
    assert (await run("status", "--config", path)).code == 78
    path.write_text(f"[log]\nlevel = 'lo'\n[control]\nsocket = '{socket_path}'\n")
    assert (await run("status", "--config", path)).code == 0


def test_the_default_socket_is_the_settings_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`status` does not load the settings, and still looks in the right place; the environment counts more than the file."""
    assert Settings().control.socket == DEFAULT_SOCKET
    path = tmp_path / "agent.toml"
    path.write_text("[control]\nsocket = '/a'\n")
    assert find_socket(path, None) == Path("/a")
    monkeypatch.setenv("SIGNAGE_AGENT_CONTROL__SOCKET", "/b")
    assert find_socket(path, None) == Path("/b")
    assert find_socket(path, Path("/c")) == Path("/c")


async def test_watch_for_programs(socket_path: Path, stand_in: StandIn) -> None:
    """One line of JSON for each change, until interrupted, which is no failure."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "status", "--watch", "--json", "--socket", str(socket_path)),
        stdout=asyncio.subprocess.PIPE,
        env=_environ(),
        limit=1 << 20,
    )
    assert process.stdout is not None
    async with asyncio.timeout(10):
        assert json.loads(await process.stdout.readline()) == stand_in.document
        stand_in.change(warnings=["hot"])
        assert json.loads(await process.stdout.readline())["warnings"] == ["hot"]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


async def test_watch_on_a_terminal(socket_path: Path, stand_in: StandIn) -> None:
    """Redrawn in place, coloured, with a bar for each file; the cursor is back at the end."""
    leader, follower = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "status", "--watch", "--socket", str(socket_path)),
        stdout=follower,
        env=_environ({"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}),
    )
    os.close(follower)
    seen = b""

    async def until(text: bytes) -> None:
        nonlocal seen
        async with asyncio.timeout(10):
            while text not in seen:
                seen += await asyncio.get_running_loop().run_in_executor(None, os.read, leader, 65536)

    await until(b"45 %")
    assert b"\xe2\x96\x88\xe2\x96\x88" in seen
    assert b"\x1b[32mplaying" in seen
    assert seen.startswith(b"\x1b[?25l")
    stand_in.change(downloads=[{"name": "film.mp4", "received_bytes": 90_000_000, "total_bytes": 100_000_000}])
    await until(b"90 %")
    assert re.search(rb"\x1b\[\d+A\r", seen), "the second picture is drawn over the first"
    process.send_signal(signal.SIGINT)
    await until(b"\x1b[?25h")
    assert await process.wait() == 0
    os.close(leader)


async def test_watch_ends_with_the_agent(stand_in: StandIn, tmp_path: Path) -> None:
    """Plain views, one after the other, where there is no terminal; 3 when the agent has gone."""
    path = tmp_path / "short.sock"
    server = ControlServer(stand_in, path, push_interval_s=0.05)
    await server.start()
    watching = asyncio.create_task(run("status", "--watch", "--socket", path))
    async with asyncio.timeout(10):
        while not stand_in.looked:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    await server.close()
    result = await watching
    assert result.code == 3
    assert result.out.startswith("Lobby (LOBBY-01)")
    assert result.err == "signage-agent: the agent has ended\n"


async def test_screenshot(socket_path: Path, tmp_path: Path) -> None:
    """To a file, to standard output; a refused one leaves the file alone."""
    file = tmp_path / "shot.jpg"
    assert (await run("screenshot", file, "--socket", socket_path)).code == 0
    assert file.read_bytes() == PICTURE
    assert (await run("screenshot", "-", "--socket", socket_path)).raw == PICTURE
    refused = await run("screenshot", file, "--screen", "left", "--socket", socket_path)
    assert (refused.code, refused.err) == (1, "signage-agent: no screen is called 'left'\n")
    assert file.read_bytes() == PICTURE
    nowhere = await run("screenshot", tmp_path / "none/shot.jpg", "--socket", socket_path)
    assert (nowhere.code, nowhere.err) == (
        1,
        f"signage-agent: {tmp_path}/none/shot.jpg cannot be written: No such file or directory\n",
    )
    named_wrongly = await run("screenshot", tmp_path / "shot.png", "--socket", socket_path)
    assert (named_wrongly.code, named_wrongly.err) == (0, f"signage-agent: note: {tmp_path}/shot.png holds image/jpeg\n")


async def test_play(socket_path: Path, stand_in: StandIn, tmp_path: Path) -> None:
    """The command line opens the file, the agent gets its name and content; a pipe will do."""
    file = tmp_path / "Grüße an alle.mp4"
    file.write_bytes(b"film" * 200_000)
    assert (await run("play", file, "--screen", "front", "--socket", socket_path)).code == 0
    assert (await run("play", "/dev/stdin", "--socket", socket_path, stdin=b"piped")).code == 0
    assert stand_in.played == [("front", "Grüße an alle.mp4", b"film" * 200_000), (None, "stdin", b"piped")]
    missing = await run("play", tmp_path / "none.mp4", "--socket", socket_path)
    assert (missing.code, missing.err) == (1, f"signage-agent: {tmp_path}/none.mp4 cannot be read: No such file or directory\n")


async def test_update(socket_path: Path, stand_in: StandIn, tmp_path: Path) -> None:
    """From a file, standard input, a URL or the configured source: what happens in plain lines, then what to look at."""
    bundle = tmp_path / "next.bundle"
    bundle.write_bytes(b"b" * 500_000)
    for source in ([bundle], ["-"], ["https://host/next.bundle"], []):
        result = await run("update", *source, "--socket", socket_path, stdin=b"piped")
        assert result.code == 0
        assert result.err.splitlines() == ["receiving the update", "installing the update; this takes a minute or two"]
        assert "version 1.2.3 is installed" in result.out
        assert "signage-agent status" in result.out
    assert [taken for taken, _, _ in stand_in.updates] == [b"b" * 500_000, b"piped", "https://host/next.bundle", None]


async def test_update_refused(socket_path: Path, tmp_path: Path) -> None:
    """1 and the agent's sentence, whenever it comes; 3 without an agent; a file that is not there needs none."""
    result = await run("update", "http://host/refused", "--socket", socket_path)
    assert (result.code, result.err.splitlines()[-1]) == (1, "signage-agent: there is no room")
    result = await run("update", "-", "--socket", socket_path, stdin=b"no")
    assert (result.code, result.err) == (1, "signage-agent: the signature is wrong\n")
    result = await run("update", tmp_path / "none", "--socket", socket_path)
    assert result.code == 1
    assert "No such file" in result.err
    result = await run("update", "--socket", tmp_path / "no.sock")
    assert result.code == 3


async def test_update_on_a_terminal(socket_path: Path) -> None:
    """One line that is drawn anew, with a bar while there is something to count."""
    primary, secondary = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent", "update", "http://host/a", "--socket", socket_path,
        stdout=asyncio.subprocess.PIPE, stderr=secondary, env=_environ(),
    )  # fmt: skip
    os.close(secondary)
    await asyncio.wait_for(process.communicate(), 20)
    drawn = os.read(primary, 65536).decode()
    os.close(primary)
    assert process.returncode == 0
    assert "\rreceiving the update  ███████████████░░░░░░░░░░░░░░░  50 % of 10 B" in drawn
    assert drawn.count("\n") == 1


async def test_output_into_a_closed_pipe(socket_path: Path, stand_in: StandIn) -> None:
    """`signage-agent status --watch | head -1` ends without a traceback when the next line comes."""
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "status", "--watch", "--json", "--socket", str(socket_path)),
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
        env=_environ(),
    )
    os.close(writer)
    assert process.stderr is not None
    async with asyncio.timeout(10):
        await asyncio.to_thread(os.read, reader, 1)
        os.close(reader)
        stand_in.change(warnings=["hot"])
        assert await process.stderr.read() == b""
        assert await process.wait() == 1


async def test_logs_without_a_journal(tmp_path: Path) -> None:
    """Where there is no journald, that is said."""
    result = await run("logs", environ={"PATH": str(tmp_path)})
    assert result.code == 1
    assert "there is no journal here" in result.err


async def test_doctor(config: Path, tmp_path: Path) -> None:
    """Every line has a verdict; a faulty configuration is found and costs the exit code."""
    result = await run("doctor", "--config", config)
    assert re.search(r"^ok   configuration  .*agent.toml: no faults$", result.out, re.MULTILINE)
    assert re.search(r"^ok   daemon         answers at", result.out, re.MULTILINE)
    assert result.code in {0, 1}
    faulty = tmp_path / "faulty.toml"
    faulty.write_text("[log]\nlevel = 1\n")
    result = await run("doctor", "--config", faulty)
    assert re.search(r"^BAD  configuration  .*faulty.toml:2: log.level", result.out, re.MULTILINE)
    assert result.code == 1
