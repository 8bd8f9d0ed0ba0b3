"""Logging for journald and for a terminal, and the redactor that keeps secrets out of both."""

from __future__ import annotations

import logging
import os
import re
import sys
import urllib.parse
from collections import OrderedDict

_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
_COLOURS = {logging.CRITICAL: "1;31", logging.ERROR: "31", logging.WARNING: "33", logging.INFO: "0", logging.DEBUG: "2"}
_HIDDEN = "[hidden]"
_SECRETS_KEPT = 256
_LONGEST_LINE = 4_000
_LONGEST_EVENT = 32_000
"""Characters of a text of several lines."""
_LONGEST_SECRET = 1_024
"""Characters of one that is found without having been named."""
_LONGEST_HIDDEN = 16_384
"""Characters of one that was named to `hide` and is sure to be found at the end of what is looked at."""
# Text from outside meets them: a run of characters may match in one way only, or time grows with the square of its length.
_PATTERNS = (
    re.compile(r"""(?i)((?:token|key|access|refresh|password|signature|secret|sessionid)=)[^&\s"'<>]++"""),
    re.compile(
        r"""(?i)("?\b(?:authorization|bearer|token|cookie)"?(?:\s*+[:=])?\s++"?(?:(?:basic|bearer|token) )?)[\w.~+/=-]{16,}+"""
    ),
    re.compile(r"""(?i)(\bauthorization["']?\s*+:\s*+["']?(?:(?:basic|bearer|token)\s++)?)[^\s"',}]++"""),
    re.compile(r"""(?i)(["'](?:token|access|refresh|password|secret|authorization|cookie)["']\s*+:\s*+["'])[^"']++"""),
    re.compile(r"""(://[^/\s:@"']*+:)[^/\s@"']++(?=@)"""),
)

_secrets: OrderedDict[str, None] = OrderedDict()
_pinned: set[str] = set()


def hide(secret: str, *, pinned: bool = False) -> None:
    """From now on `secret`, also percent-encoded, is replaced wherever a log line would show it.

    For passwords, keys and every token as it arrives; of those the oldest are forgotten, one that is configured is `pinned`.
    Anything under four characters is not hidden: it would make all other lines unreadable.
    """
    for form in {secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)}:
        if len(form) >= 4 and pinned:
            _pinned.add(form)
        elif len(form) >= 4:
            _secrets[form] = None
            _secrets.move_to_end(form)
    while len(_secrets) > _SECRETS_KEPT:
        _secrets.popitem(last=False)


def redact(text: str) -> str:
    """`text` without secrets: the ones known to `hide`, and whatever looks like a credential in a URL, a header or a body."""
    for secret in sorted({*_secrets, *_pinned}, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, _HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{_HIDDEN}", text)
    return text


def excerpt(text: str, longest: int) -> str:
    """The beginning of `text` without secrets, at most `longest` characters; a note at its end says if that is not all.

    For text from outside: what cannot be shown is not looked at, however much it is, and no part of a secret is left at the cut.
    """
    known = min(max(map(len, {*_secrets, *_pinned}), default=0), _LONGEST_HIDDEN)
    margin = max(known, _LONGEST_SECRET)
    shown = redact(text[: longest + margin])
    if len(text) > longest + margin:
        doubtful = shown[-margin:]
        place = doubtful.rfind(_HIDDEN)
        shown = shown[:-margin] + (doubtful[: place + len(_HIDDEN)] if place >= 0 else "")
    elif len(shown) <= longest:
        return shown
    end = f"... [{len(text)} characters]"
    return shown[: longest - len(end)] + end


class Formatter(logging.Formatter):
    """One event a line; each line of a traceback carries the priority, too. A line that is too long is cut."""

    def __init__(self, *, journald: bool, colour: bool) -> None:
        super().__init__()
        self._journald = journald
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The record as the journal or the terminal should show it."""
        room = record.name.removeprefix("agent.")
        text = _event(f"{room}: {record.getMessage()}")
        if record.exc_info:
            text += "\n" + _event(self.formatException(record.exc_info))
        if self._journald:
            prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
            return "\n".join(prefix + line for line in text.splitlines())
        text = f"{self.formatTime(record, '%H:%M:%S')}.{int(record.msecs):03d} {record.levelname[0]} {text}"
        if self._colour:
            return f"\x1b[{_COLOURS.get(record.levelno, '0')}m{text}\x1b[0m"
        return text


def _event(text: str) -> str:
    """`text` without secrets, its lines no longer than they may be."""
    shown = excerpt(text, _LONGEST_EVENT if "\n" in text else _LONGEST_LINE)
    return "\n".join(_clipped(line) for line in shown.splitlines())


def _clipped(line: str) -> str:
    if len(line) <= _LONGEST_LINE:
        return line
    end = f"... [{len(line)} characters]"
    return line[: _LONGEST_LINE - len(end)] + end


def setup(level: str) -> None:
    """Sends all logging to standard error: with `<N>` prefixes under journald, coloured on a terminal.

    `level` is debug, info, warning or error. Libraries speak from WARNING up, unless the level is debug.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(journald="JOURNAL_STREAM" in os.environ, colour=sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.getLogger("agent").setLevel(level.upper())
    logging.captureWarnings(capture=True)


class Trouble:
    """Something that may go wrong again and again: WARNING when it begins or changes, DEBUG while it repeats, INFO when over."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._present = ""

    def is_(self, what: str, error: object, **details: object) -> None:
        """It is wrong now: `what` in words, then the error and details as key=value."""
        said = f"{what} {excerpt(str(error), _LONGEST_LINE)}"
        level = logging.DEBUG if said == self._present else logging.WARNING
        self._present = said
        values = "".join(f" {key}={value}" for key, value in details.items())
        self._log.log(level, "%s error=%s%s", what, error, values)

    def over(self, words: str) -> None:
        """It works (again); said only after it did not."""
        if self._present:
            self._present = ""
            self._log.info("%s", words)
