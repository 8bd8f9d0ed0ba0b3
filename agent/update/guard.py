"""The guard: goes back to the version from before when the new one does not prove itself.

    /usr/bin/python3 -ISB GUARD before-start   by root before each start of the agent (ExecStartPre=-+)
    /usr/bin/python3 -ISB GUARD check          by root every five seconds while a candidate is uncommitted (a timer)
    /usr/bin/python3 -ISB GUARD forget         by scripts/install, which has switched to something else

Standard library only, and together with `disk` and `slots` copied outside the releases, where no update reaches it: a version
that cannot start cannot repair itself. It never keeps the agent from starting: what it cannot do it says in the journal.

Goes back when a candidate was started three times and is about to be started once more - whatever ended it: an exception, exit
78, the watchdog, a power cut, but not an end that somebody asked for - or when its probation is over. Neither happens once the
daemon has claimed, in state_dir/update/committed.json, that the version does what the one before did (`agent.update.trial`).
Goes back as well when the link to a candidate that was started before has been lost. When the record of versions has been lost,
a version that was never kept is on probation again.

Back within five minutes, whatever the new version does. The clock is the monotonic one and begins with the candidate's first
start in a boot. The longest case is a version that starts and does nothing, or hangs before it is ready:

    200 s   probation at most, whatever [update] probation_s says (120 s by default)
      6 s   until the timer looks: 5 s and its accuracy
     30 s   until the restart is ordered: 10 s for the record, 10 s for the cause, 10 s for systemctl, at most
     10 s   TimeoutStopSec: what ignores SIGTERM gets SIGKILL
     10 s   for the record again, before the start, at most
     20 s   the version from before starts
    276 s

TimeoutStartSec (120 s) and the watchdog (30 s) may end it earlier: that is a failed start, and the probation goes on. A version
that fails at once is gone back from after three starts, with 0, 0 and 1 s between them (systemd/start-delay). For one that takes
the whole box along, the probation begins anew with each boot; it gets three, and runs for 210 s in all (known to 10 s a boot).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.update import disk
from agent.update.slots import ROOT, STATE_DIR, Candidate, Record, Releases, Slots, carry_out, forget_claims

STARTS = 3
CLEAN_ENDS = 10
"""So many starts that ended because somebody asked for it are not held against a version."""
PROBATION_S = (1.0, 200.0)
RUNS_S = 210.0
"""Over all boots."""
NOTED_EVERY_S = 10.0
SWITCHED_S = 30.0
"""So long the running version has to give way by itself to the one that was switched to."""

UNIT = "signage-agent.service"
TIMER = "signage-agent-guard.timer"
END = "signage-agent.end"
"""Below /run, from the unit's ExecStopPost: $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS of the last start in this boot."""

_COMMAND_S = 5.0
_LONGEST_S = 45
_CLAIM_BYTES = 16 * 1024
_SENTENCES = 5
_END_WORDS = 3
_SENTENCE_CHARACTERS = 200
_ERROR, _WARNING, _INFO = 3, 4, 6
_ENDS = {
    "watchdog": "hung, the watchdog ended it",
    "timeout": "was not ready in time",
    "oom-kill": "was ended because it took all memory",
}
# What the guard and start-delay have written themselves.
_OTHER_WORDS = ("update: ", "waiting after quick failures")


@dataclass(frozen=True)
class Box:
    """Where things are, and the commands to talk to systemd with."""

    root: Path = ROOT
    state_dir: Path = STATE_DIR
    run: Path = Path("/run")
    boot_id: Path = Path("/proc/sys/kernel/random/boot_id")
    systemctl: Sequence[str] = ("systemctl",)
    journalctl: Sequence[str] = ("journalctl",)


def run() -> int:
    """The command line; ends after 45 s at the latest: a disk that does not answer must not hold up the start for longer."""
    signal.alarm(_LONGEST_S)
    return main()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0, or 1 when something went wrong that is not foreseen."""
    try:
        command, box = _parsed(arguments)
        guard = Guard(box)
        {"before-start": guard.before_start, "check": guard.check, "forget": guard.forget}[command]()
    except Exception as error:  # noqa: BLE001 - whatever it is, the start goes on
        _say(_ERROR, "guard failed", error=f"{type(error).__name__}: {error}")
        return 1
    return 0


class Guard:
    """One run of the guard."""

    def __init__(self, box: Box, now: float | None = None) -> None:
        """`now`: monotonic seconds, for tests."""
        self._box = box
        self._now = time.monotonic() if now is None else now
        self._record = Record(box.root, box.run)
        self._releases = Releases(box.root)

    def before_start(self) -> None:
        """Before each start: counts it, goes back if there were enough; `current` is something that can be started afterwards."""
        try:
            with self._slots() as slots:
                self._before_start(slots)
                if self._record.unsaved:  # the timer tries again
                    self._systemctl("start", "--no-block", TIMER)
        finally:
            self._repair()

    def check(self) -> None:
        """Now and then while there is a candidate: is it proved, is its time over? Without one, the timer ends."""
        with self._slots() as slots:
            slots = self._sorted_out(slots, starting=False)
            candidate = slots.candidate
            if candidate is None:
                if not self._record.unsaved:  # else it is tried again five seconds later
                    self._systemctl("stop", "--no-block", TIMER)
            elif candidate.starts == 0 or candidate.first_start_monotonic is None:
                self._hurry(slots, candidate)
            elif cause := self._overdue(candidate):
                self._go_back(slots, cause, starting=False)
            else:
                self._note(slots, candidate)

    def forget(self) -> None:
        """Somebody has switched to something else: there is nothing on probation any more."""
        with self._slots() as slots:
            if slots.candidate is not None:
                _say(_INFO, "probation ends, another version was installed", version=slots.candidate.version)
                self._store(replace(slots, candidate=None))

    # --- what becomes of the candidate ----------------------------------------------------------------------------------------

    def _before_start(self, slots: Slots) -> None:
        slots = self._sorted_out(slots, starting=True)
        candidate = slots.candidate
        if candidate is None:
            return
        if candidate.starts and candidate.clean_ends < CLEAN_ENDS and self._end()[:1] == ["success"]:
            candidate = replace(candidate, clean_ends=candidate.clean_ends + 1)
            slots = replace(slots, candidate=candidate)
        failed = candidate.starts - candidate.clean_ends
        if failed >= STARTS:
            self._go_back(slots, f"{failed} starts failed; {self._last_end(candidate)}", starting=True)
            return
        if cause := self._overdue(candidate):
            self._go_back(slots, cause, starting=True)
            return
        if candidate.starts == 0:
            forget_claims(self._box.state_dir)
            self._reset_start_delay()
        with contextlib.suppress(OSError):  # of the start before; one that is cut off leaves none
            (self._box.run / END).unlink(missing_ok=True)
        slots = slots.started(self._now, self._boot_id())
        self._store(slots)
        assert slots.candidate is not None
        _say(_INFO, "version on probation starts", version=candidate.version, start=slots.candidate.starts)
        self._systemctl("start", "--no-block", TIMER)

    def _sorted_out(self, slots: Slots, *, starting: bool) -> Slots:
        """The record after what was interrupted has been brought to its end."""
        candidate = slots.candidate
        if candidate is None:
            return self._doubted(slots) if self._record.lost else slots
        if candidate.cause:
            return self._go_back(slots, candidate.cause, starting=starting)
        current = self._releases.current()
        if not self._releases.complete(candidate.release):
            return self._go_back(slots, "its files are not complete", starting=starting)
        if current == candidate.release:
            return self._committed(slots, candidate) if self._claimed(candidate) else slots
        lost = not self._releases.complete(current)
        if candidate.starts == 0 and (current == candidate.previous or lost):
            carry_out(candidate, self._releases, self._box.state_dir)
            _say(_INFO, "switched to the version on probation", version=candidate.version, release=candidate.release)
            return slots
        if lost:
            return self._go_back(slots, f"the link to it was lost; it named {current or 'nothing'}", starting=starting)
        if current == candidate.previous:
            return self._settled(slots, "rolled back", "it was switched back")
        _say(_INFO, "probation ends, another version is current", version=candidate.version, release=current)
        return self._store(replace(slots, candidate=None))

    def _doubted(self, slots: Slots) -> Slots:
        """The record has been lost: what runs has to prove itself, unless it did so before or there is nothing to go back to."""
        releases, current = self._releases, self._releases.current()
        previous = releases.fallback("", not_release=current)
        if not releases.complete(current) or not releases.unproved(current) or not previous or releases.unproved(previous):
            return slots
        digest = releases.digest(current)
        version = current.removesuffix(f"+{digest[:8]}").removesuffix(f"+{digest[:32]}")
        _say(_WARNING, "record of versions was lost, the version is on probation again", version=version, release=current)
        return self._store(slots.decided(Candidate(release=current, version=version, digest=digest, previous=previous)))

    def _committed(self, slots: Slots, candidate: Candidate) -> Slots:
        _say(_INFO, "version is kept, it has proved itself", version=candidate.version)
        try:
            self._releases.trust(candidate.release)  # first: what the record says counts
        except OSError as error:
            _say(_WARNING, "version is still marked as one on probation", version=candidate.version, error=error)
        return self._settled(slots, "committed", "")

    def _go_back(self, slots: Slots, cause: str, *, starting: bool) -> Slots:
        candidate = slots.candidate
        assert candidate is not None
        releases = self._releases
        target = releases.fallback(candidate.previous, not_release=candidate.release, not_digests=slots.rolled_back)
        if not target:
            _say(_ERROR, "no complete release to go back to, the version stays", version=candidate.version, cause=cause)
            return self._store(replace(slots, candidate=None))
        if not candidate.cause:
            slots = self._store(replace(slots, candidate=replace(candidate, cause=cause)))
        releases.switch(target)
        self._reset_start_delay()
        _say(_WARNING, "version is gone back from", version=candidate.version, release=target, cause=cause)
        if not starting and not self._systemctl("restart", "--no-block", UNIT):
            return slots  # tried again five seconds later
        return self._settled(slots, "rolled back", cause)

    def _settled(self, slots: Slots, result: Any, cause: str) -> Slots:
        candidate = slots.candidate
        assert candidate is not None
        slots = self._store(slots.settled(result, cause, datetime.now(UTC).isoformat(timespec="seconds")))
        if result == "rolled back" and self._record.unsaved:
            # The record on the disk still says that it is to be switched to.
            try:
                self._releases.spoil(candidate.release)
            except OSError as error:
                _say(_WARNING, "release cannot be given up", release=candidate.release, error=error)
        return slots

    def _hurry(self, slots: Slots, candidate: Candidate) -> None:
        """It was switched to but does not run: the version from before had its time to end by itself."""
        switched = candidate.switched_monotonic
        if candidate.boot_id != self._boot_id() or switched is None or switched > self._now:
            since = replace(candidate, boot_id=self._boot_id(), switched_monotonic=self._now)
            self._store(replace(slots, candidate=since))
        elif self._now - switched >= SWITCHED_S:
            _say(_WARNING, "the version from before still runs and is restarted", version=candidate.version)
            self._systemctl("restart", "--no-block", UNIT)
            self._store(replace(slots, candidate=replace(candidate, switched_monotonic=self._now)))

    def _overdue(self, candidate: Candidate) -> str:
        """Why the probation is over without a commit; empty: it is not."""
        lived_s = self._lived_s(candidate)
        if lived_s is None:
            return ""
        probation_s = min(max(candidate.probation_s, PROBATION_S[0]), PROBATION_S[1])
        if lived_s < probation_s and candidate.spent_s + lived_s < RUNS_S:
            return ""
        return f"not proved within {min(lived_s, probation_s):.0f} s: {self._unmet(candidate)}"

    def _lived_s(self, candidate: Candidate) -> float | None:
        """Since its first start in this boot; None if there was none."""
        first = candidate.first_start_monotonic
        if first is None or first > self._now or candidate.boot_id != self._boot_id():
            return None
        return self._now - first

    def _note(self, slots: Slots, candidate: Candidate) -> None:
        lived_s = self._lived_s(candidate)
        if lived_s is not None and lived_s - candidate.lived_s >= NOTED_EVERY_S:
            self._store(replace(slots, candidate=replace(candidate, lived_s=round(lived_s, 1))))

    def _repair(self) -> None:
        """What has no marker is never started, as long as there is something that has one."""
        current = self._releases.current()
        if self._releases.complete(current):
            return
        slots = self._record.load()
        candidate = slots.candidate
        previous, doubtful = (candidate.previous, candidate.release) if candidate else ("", "")
        target = self._releases.fallback(previous, not_release=doubtful, not_digests=slots.rolled_back)
        if not target and self._releases.complete(doubtful):
            target = doubtful
        if not target:
            _say(_ERROR, "no complete release is there; install the agent again", current=current or "none")
            return
        self._releases.switch(target)
        _say(_WARNING, "the current release was not complete, another one runs", current=current or "none", release=target)

    # --- what the daemon and systemd say --------------------------------------------------------------------------------------

    def _claimed(self, candidate: Candidate) -> bool:
        return candidate.starts > 0 and self._daemon_says("committed.json").get("digest") == candidate.digest

    def _unmet(self, candidate: Candidate) -> str:
        """What the daemon found missing. Its words are anybody's: bounded and made printable."""
        said = self._daemon_says("probation.json")
        sentences = said.get("unmet")
        if said.get("digest") == candidate.digest and isinstance(sentences, list):
            texts = [_line(one) for one in sentences[:_SENTENCES] if isinstance(one, str) and one]
            if texts:
                return "; ".join(texts)
        words = self._last_words(candidate)
        if self._systemd_says("ActiveState").get("ActiveState") == "active":
            return f"it was ready, but did not say what was missing{words}"
        return f"it was never ready{words}"

    def _daemon_says(self, name: str) -> Mapping[str, Any]:
        try:
            with disk.foreign_directory(self._box.state_dir, "update") as directory:
                content = json.loads(disk.read_foreign(directory, name, _CLAIM_BYTES))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            _say(_WARNING, "what the agent says of itself cannot be read", file=name, error=error)
            return {}
        return content if isinstance(content, dict) else {}

    def _last_end(self, candidate: Candidate) -> str:
        """How the last start ended, as systemd has said to the unit's ExecStopPost, and its last words."""
        end = self._end()
        if len(end) != _END_WORDS:
            return f"the last one was cut off{self._last_words(candidate)}"
        result, code, status = end
        if result in _ENDS:
            how = _ENDS[result]
        elif code == "exited":
            how = f"ended with exit code {status}" + (" (faults in the configuration)" if status == "78" else "")
        else:
            how = f"was ended by signal {status}"
        return f"the last one {how}{self._last_words(candidate)}"

    def _end(self) -> list[str]:
        """How the last start in this boot ended, in systemd's words; empty if it has not said."""
        try:
            return (self._box.run / END).read_text("ascii").split()
        except (OSError, ValueError):
            return []

    def _last_words(self, candidate: Candidate) -> str:
        """The last line that the candidate has written to the journal in this boot, if any, to be put behind a sentence."""
        lived_s = self._lived_s(candidate)
        if lived_s is None:
            return ""
        since = time.time() - lived_s
        command = [
            *self._box.journalctl,
            "--boot",
            f"--since=@{since:.3f}",
            f"_SYSTEMD_UNIT={UNIT}",
            "--lines=10",
            "--output=cat",
            "--no-pager",
            "--quiet",
        ]
        lines = [line for line in _output(command).splitlines() if line.strip() and not line.startswith(_OTHER_WORDS)]
        return f": {_line(lines[-1])}" if lines else ""

    def _systemd_says(self, properties: str) -> dict[str, str]:
        output = _output([*self._box.systemctl, "show", f"--property={properties}", UNIT])
        return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)

    # --- doing ----------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _slots(self) -> Iterator[Slots]:
        with self._record.held() as taken:
            if not taken:
                _say(_WARNING, "record of versions is not locked")
            slots = self._record.load()
            if self._record.complaint:
                _say(_WARNING, "record of versions was damaged", error=self._record.complaint)
                self._store(slots)
            elif self._record.unsaved:
                self._save(slots)
            yield slots

    def _store(self, slots: Slots) -> Slots:
        try:
            self._record.store(slots)
        except OSError as error:
            _say(_WARNING, "record of versions cannot be written", error=error)
        return slots

    def _save(self, slots: Slots) -> None:
        """What could not be written before is, as soon as there is room."""
        with contextlib.suppress(OSError):  # said when it began
            self._record.store(slots)
            _say(_INFO, "record of versions is on the disk again")

    def _systemctl(self, *arguments: str) -> bool:
        try:
            done = subprocess.run([*self._box.systemctl, *arguments], check=False, capture_output=True, timeout=2 * _COMMAND_S)
        except (OSError, subprocess.SubprocessError) as error:
            _say(_ERROR, "systemctl failed", command=" ".join(arguments), error=error)
            return False
        if done.returncode:
            _say(_ERROR, "systemctl failed", command=" ".join(arguments), error=_line(done.stderr.decode(errors="replace")))
        return done.returncode == 0

    def _reset_start_delay(self) -> None:
        """Another version begins: it does not wait for the failures of the one before (systemd/start-delay)."""
        with contextlib.suppress(OSError):
            (self._box.run / "signage-agent/starts").unlink()

    def _boot_id(self) -> str:
        try:
            return self._box.boot_id.read_text("ascii").strip()
        except (OSError, ValueError):
            return ""  # then a clock that begins anew tells of another boot


def _parsed(arguments: Sequence[str] | None) -> tuple[str, Box]:
    parser = argparse.ArgumentParser(prog="guard")
    parser.add_argument("command", choices=["before-start", "check", "forget"])
    defaults = Box()
    for name in ("root", "state-dir", "run", "boot-id"):
        parser.add_argument(f"--{name}", type=Path, default=getattr(defaults, name.replace("-", "_")))
    for name in ("systemctl", "journalctl"):
        parser.add_argument(f"--{name}", type=shlex.split, default=[name])
    options = vars(parser.parse_args(arguments))
    return options.pop("command"), Box(**options)


def _output(command: Sequence[str]) -> str:
    """What a command prints; nothing if it fails or takes too long."""
    try:
        return subprocess.run(command, check=False, capture_output=True, timeout=_COMMAND_S).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError):
        return ""


def _line(text: str) -> str:
    """One line of bounded length with nothing in it that a terminal would obey."""
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= _SENTENCE_CHARACTERS else text[: _SENTENCE_CHARACTERS - 3] + "..."


def _say(level: int, words: str, **details: object) -> None:
    values = "".join(f" {key}={value}" for key, value in details.items())
    prefix = f"<{level}>" if "JOURNAL_STREAM" in os.environ else ""
    sys.stderr.write(f"{prefix}update: {words}{values}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(run())
