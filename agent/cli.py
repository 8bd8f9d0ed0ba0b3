"""The command line, `signage-agent`.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no agent answers, 78 faults in the configuration. What a command needs is imported
when it runs, so that `version` and `--help` are there at once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent import __version__

if TYPE_CHECKING:
    from agent.control.client import ControlClient

DONE, FAILED, NO_AGENT, CONFIGURATION = 0, 1, 3, 78


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    parsed = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        code = command(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has seen enough; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _run(parsed: argparse.Namespace) -> int:
    from agent.system.child import start_spare

    # The screen's process has the longest way to its first picture: it loads while this one does.
    spare = start_spare("agent.screen.worker")
    from agent.settings import SettingsError

    try:
        from agent.daemon import run

        return run(_config(parsed), dict(parsed.set), spare)
    except SettingsError as error:
        return _report(error.faults)


def _check(parsed: argparse.Namespace) -> int:
    from agent.settings import SettingsError, load_settings
    from agent.settings.remarks import remarks

    path = _config(parsed)
    try:
        settings = load_settings(path, dict(parsed.set), check_files=True)
    except SettingsError as error:
        return _report(error.faults)
    print(f"{path or 'no file, defaults only'}: no faults")
    print("screens:", ", ".join(f"{name} ({screen.output})" for name, screen in settings.screens.items()))
    print("links:", ", ".join(f"{link.name} ({link.kind})" for link in settings.links) or "none")
    for remark in remarks(settings, os.environ):
        print(f"note: {remark}", file=sys.stderr)
    return DONE


def _doctor(parsed: argparse.Namespace) -> int:
    from agent.control.doctor import examine, report
    from agent.control.place import ConfigurationError, find_socket

    try:
        socket: Path | None = find_socket(parsed.config, parsed.socket)
    except ConfigurationError:
        socket = None  # the examination of the configuration says why
    return report(examine(_config(parsed), socket))


def _status(parsed: argparse.Namespace) -> int:
    from agent.control.commands import status

    return _talk(
        parsed, lambda client: status(client, as_json=parsed.json, watch=parsed.watch, screen=parsed.screen), quiet_interrupt=True
    )


def _screenshot(parsed: argparse.Namespace) -> int:
    from agent.control.commands import screenshot

    return _talk(parsed, lambda client: screenshot(client, parsed.file, parsed.screen))


def _play(parsed: argparse.Namespace) -> int:
    from agent.control.commands import play

    return _talk(parsed, lambda client: play(client, parsed.file, parsed.screen))


def _update(parsed: argparse.Namespace) -> int:
    from agent.control.commands import update

    return _talk(parsed, lambda client: update(client, parsed.source))


def _logs(parsed: argparse.Namespace) -> int:
    journalctl = shutil.which("journalctl")
    if journalctl is None or not Path("/run/systemd/journal").exists():
        return _fail("there is no journal here; without systemd the agent logs to the terminal or service that started it")
    units = [f"--unit=signage-agent{part}" for part in ("", "-update", "-guard")]
    command = [journalctl, *units, "--output=short-iso", "--no-hostname"]
    command += [f"--lines={parsed.lines}"] if parsed.lines else ["--lines=200"] if not parsed.since else []
    command += [f"--since={parsed.since}"] if parsed.since else []
    command += ["--follow"] if parsed.follow else ["--pager-end"] if sys.stdout.isatty() else ["--no-pager"]
    sys.stdout.flush()
    return subprocess.run(command, check=False).returncode


def _version(parsed: argparse.Namespace) -> int:
    del parsed
    print(f"signage-agent {__version__}")
    return DONE


def _talk(parsed: argparse.Namespace, command: Callable[[ControlClient], int], *, quiet_interrupt: bool = False) -> int:
    from agent.control.client import ControlClient, NoAgentError, RefusedError
    from agent.control.place import ConfigurationError, find_socket

    try:
        return command(ControlClient(find_socket(parsed.config, parsed.socket)))
    except ConfigurationError as error:
        return _report([str(error)])
    except NoAgentError as error:
        return _fail(str(error), NO_AGENT)
    except RefusedError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        if not quiet_interrupt:
            raise
        return DONE


def _config(parsed: argparse.Namespace) -> Path | None:
    from agent.control.place import default_config

    path: Path | None = parsed.config
    return path or default_config()


def _report(faults: list[str]) -> int:
    """One line for each fault; under journald they are marked as errors."""
    prefix = "<3>" if "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty() else ""
    for fault in faults:
        print(f"{prefix}{fault}", file=sys.stderr)
    return CONFIGURATION


def _fail(sentence: str, code: int = FAILED) -> int:
    print(f"signage-agent: {sentence}", file=sys.stderr)
    return code


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or "." not in key:
        raise argparse.ArgumentTypeError(f"{text!r} is not TABLE.KEY=VALUE, such as log.level=debug")
    return key.strip(), value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="signage-agent", description="On-device agent for signage and speaker hardware.")
    parser.add_argument("--version", action="version", version=f"signage-agent {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, command: Callable[[argparse.Namespace], int], help_text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
        sub.set_defaults(command=command)
        return sub

    def add_config(sub: argparse.ArgumentParser) -> None:
        help_text = "the configuration (default: /etc/signage-agent/agent.toml where it is)"
        sub.add_argument("--config", type=Path, metavar="FILE", help=help_text)

    def add_settings(sub: argparse.ArgumentParser) -> None:
        help_text = "set a key for this run: log.level=debug, links.NAME.url=...; others can see it, so no secrets"
        sub.add_argument("--set", type=_setting, action="append", default=[], metavar="TABLE.KEY=VALUE", help=help_text)

    def add_socket(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--socket", type=Path, metavar="PATH", help="the agent's control socket instead of the configured one")

    def add_screen(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--screen", metavar="NAME", help="which screen")

    run = add("run", _run, "run the agent")
    check = add("check", _check, "check the configuration: 78 and a line for each fault")
    status = add("status", _status, "show what the running agent does")
    screenshot = add("screenshot", _screenshot, "save what is on the screen")
    play = add("play", _play, "play a file over the running playlist")
    update = add("update", _update, "install a new version and restart into it")
    doctor = add("doctor", _doctor, "look for what the box lacks, and say what to do about it")
    logs = add("logs", _logs, "show the agent's log")
    add("version", _version, "print the version")

    for sub in (run, check, status, screenshot, play, update, doctor):
        add_config(sub)
    for sub in (run, check):
        add_settings(sub)
    for sub in (status, screenshot, play, update, doctor):
        add_socket(sub)
    for sub in (status, screenshot, play):
        add_screen(sub)
    status.add_argument("--json", action="store_true", help="for programs; with --watch one line for each change")
    status.add_argument("--watch", action="store_true", help="go on showing it until interrupted")
    screenshot.add_argument("file", metavar="FILE", help="where to write it; - for standard output")
    play.add_argument("file", metavar="FILE", help="a video or an image")
    help_text = "a bundle, its URL, or - for standard input; without it the newest of the configured source"
    update.add_argument("source", nargs="?", metavar="FILE|URL", help=help_text)
    logs.add_argument("-f", "--follow", action="store_true", help="go on showing new lines")
    logs.add_argument("-n", "--lines", type=int, metavar="N", help="how many lines (default: 200)")
    logs.add_argument("--since", metavar="TIME", help="from this time on, such as 10:00, yesterday, '-2 h'")
    return parser


if __name__ == "__main__":
    sys.exit(main())
