"""What stands in the journal, and what never does."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.system import logs
from agent.system.logs import Formatter, Trouble, excerpt, hide, redact

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No secrets of other tests."""
    before = logs._secrets.copy()
    logs._secrets.clear()
    yield
    logs._secrets.clear()
    logs._secrets.update(before)


def record(level: int, text: str, *arguments: object, name: str = "agent.links.link", error: BaseException | None = None) -> str:
    """A line as it stands in the journal."""
    made = logging.LogRecord(name, level, "x.py", 1, text, arguments, None if error is None else (type(error), error, None))
    return Formatter(journald=True, colour=False).format(made)


@pytest.mark.parametrize(
    ("level", "prefix"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2), (25, 6)],
)
def test_journald_gets_its_priorities(level: int, prefix: int) -> None:
    """Each line begins with the priority of syslog and names the room."""
    assert record(level, "connected link=%s", "main") == f"<{prefix}>links.link: connected link=main"


def test_every_line_of_a_traceback_has_the_priority() -> None:
    """A traceback does not fall apart into lines of another priority."""
    lines = record(logging.ERROR, "broke\noff", error=ValueError("two\nlines")).splitlines()
    assert len(lines) >= 4
    assert all(line.startswith("<3>") for line in lines)


def test_a_terminal_gets_the_time_and_colours() -> None:
    """By hand: clock time and a letter, in colour when somebody looks."""
    made = logging.LogRecord("agent.daemon", logging.WARNING, "x.py", 1, "late", (), None)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} W daemon: late", Formatter(journald=False, colour=False).format(made))
    assert re.fullmatch(r"\x1b\[33m.* W daemon: late\x1b\[0m", Formatter(journald=False, colour=True).format(made))


SECRET = "q7Zx-81.kk~L+/Pe"


@pytest.mark.parametrize(
    "text",
    [
        f"wss://host/ws/cloud/tb_device/?token={SECRET}&sn_number=1",
        f"GET /a?key={SECRET} HTTP/1.1",
        f"https://bucket.example/f.mp4?X-Amz-Signature={SECRET}&Expires=1",
        f"url='https://h/?access={SECRET}'",
        f"> Authorization: Bearer {SECRET}",
        f"headers={{'Authorization': 'Bearer {SECRET}'}}",
        f"authorization: token {SECRET}",
        f"> Authorization: Bearer {SECRET[:9]}",
        f"Authorization: Basic {SECRET}",
        f"Cookie: sessionid={SECRET}",
        f"https://user:{SECRET.replace('/', '_')}@host/path",
        f'{{"access":"{SECRET}","refresh":"x"}}',
        f"{{'token': '{SECRET}'}}",
        f'body={{"username": "lobby", "password": "{SECRET}"}}',
    ],
)
def test_what_looks_like_a_credential_is_hidden(text: str) -> None:
    """Credentials in URLs, headers and bodies are hidden without anybody having named them."""
    shown = redact(text)
    assert "[hidden]" in shown
    assert not any(part in shown for part in (SECRET[:8], SECRET[8:14]))


def test_the_rest_of_the_line_stays() -> None:
    """Only the secret goes: who reads the log still sees where it went and for whom."""
    assert (
        redact(f"GET wss://host/ws/?token={SECRET}&sn_number=LOBBY-01 failed status=401")
        == "GET wss://host/ws/?token=[hidden]&sn_number=LOBBY-01 failed status=401"
    )


@pytest.mark.parametrize(
    "text",
    [
        "on screen screen=front title='Token of love' shot=3 hwdec=no",
        "playlist on playlist=7 name='Keys and cookies for everyone in the lobby' side=front",
        "authorization was refused by the server link=main",
        "connected link=main kind=signage",
        "http://host:8080/media/a@b.mp4",
        "12:30:01 at https://host/a:b/c",
        "token renewed expires_s=3600",
    ],
)
def test_harmless_lines_stay_as_they_are(text: str) -> None:
    """Words like token and key are no secrets."""
    assert redact(text) == text


def test_registered_secrets_are_hidden_in_every_form() -> None:
    """A password named to `hide` is found plain, percent-encoded and in the form of a query."""
    hide("p@ss w/rd+é")
    for form in ("p@ss w/rd+é", "p%40ss%20w%2Frd%2B%C3%A9", "p%40ss+w%2Frd%2B%C3%A9"):
        assert redact(f"login with {form} failed") == "login with [hidden] failed"


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    """A secret that contains another one leaves no rest."""
    hide("abcd")
    hide("abcdefgh")
    assert redact("x abcdefgh y") == "x [hidden] y"


def test_short_words_are_not_hidden() -> None:
    """A password of three letters would make every other line unreadable."""
    hide("the")
    hide("")
    assert redact("the end") == "the end"


def test_old_secrets_are_forgotten_last_used_first_kept() -> None:
    """Tokens come for years: their number is bounded, and the newest are hidden."""
    hide("password-in-use")
    for number in range(1000):
        hide(f"token-number-{number}")
        hide("password-in-use")
    assert len(logs._secrets) <= 256
    assert redact("password-in-use token-number-999") == "[hidden] [hidden]"


def test_secrets_in_exceptions_are_hidden() -> None:
    """The text of a library's exception, and its traceback, pass the same redactor."""
    hide("hush-hush")
    try:
        try:
            raise OSError("connect to user hush-hush failed")
        except OSError as error:
            raise RuntimeError("https://h/?token=abcdef hush-hush") from error
    except RuntimeError as error:
        text = Formatter(journald=True, colour=False).format(
            logging.LogRecord(
                "websockets", logging.ERROR, "x.py", 1, "broke %s", (error,), (type(error), error, error.__traceback__)
            )
        )
    assert "OSError" in text
    assert "hush-hush" not in text
    assert "abcdef" not in text


SPEAKER = """
import logging, sys, warnings
from agent.system import logs
logs.setup(sys.argv[1])
for name in ("agent.daemon", "websockets.client"):
    for level in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger(name), level)("%s", level)
"""


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [("debug", 4, 4), ("info", 3, 2), ("warning", 2, 2), ("error", 1, 2)],
)
def test_levels(level: str, ours: int, theirs: int) -> None:
    """The agent speaks from its level up, libraries from WARNING up unless the level is debug."""
    environment = {**os.environ, "JOURNAL_STREAM": "8:1"}
    done = subprocess.run(
        [sys.executable, "-c", SPEAKER, level], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    lines = done.stderr.splitlines()
    assert sum("daemon: " in line for line in lines) == ours
    assert sum("websockets.client: " in line for line in lines) == theirs
    assert all(re.match(r"<[2-7]>", line) for line in lines)
    assert done.stdout == ""


def test_trouble_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """WARNING when it begins, DEBUG while it repeats, WARNING when it changes, INFO when it is over, and then anew."""
    caplog.set_level(logging.DEBUG)
    trouble = Trouble(logging.getLogger("agent.test"))
    trouble.over("never said")
    trouble.is_("not connected", "no route", link="main")
    trouble.is_("not connected", "no route", link="main")
    trouble.is_("not connected", "HTTP 500", link="main")
    trouble.over("connected again")
    trouble.over("connected again")
    trouble.is_("not connected", "no route", link="main")
    assert [(entry.levelname, entry.getMessage()) for entry in caplog.records] == [
        ("WARNING", "not connected error=no route link=main"),
        ("DEBUG", "not connected error=no route link=main"),
        ("WARNING", "not connected error=HTTP 500 link=main"),
        ("INFO", "connected again"),
        ("WARNING", "not connected error=no route link=main"),
    ]


def test_trouble_with_a_changing_token_is_the_same_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """An error text that differs only in a secret is no news."""
    caplog.set_level(logging.DEBUG)
    trouble = Trouble(logging.getLogger("agent.test"))
    trouble.is_("not connected", f"https://h/?token={SECRET}")
    trouble.is_("not connected", f"https://h/?token={SECRET}2")
    assert [entry.levelname for entry in caplog.records] == ["WARNING", "DEBUG"]


def test_a_configured_secret_is_never_forgotten() -> None:
    """However many tokens come after it; of those the oldest ones are."""
    hide("the configured one", pinned=True)
    for number in range(1000):
        hide(f"token-{number:04}")
    assert redact("the configured one and token-0999") == "[hidden] and [hidden]"
    assert len(logs._secrets) <= 256
    logs._pinned.discard("the configured one")


def test_a_long_line_is_cut() -> None:
    """What a server sends fills no journal, and no secret shows at the cut."""
    hide(SECRET)
    line = record(logging.WARNING, "x" * 3990 + SECRET + "y" * 1_000_000)
    assert len(line) <= 4003
    assert "xxx[hid" in line or "characters]" in line
    assert SECRET[:8] not in line
    assert record(logging.WARNING, "short") == "<4>links.link: short"


MEGABYTE = 1_000_000
HOSTILE = (
    ("token", " "),
    ("token", "\t\n"),
    ("token=", " "),
    ("token ", "aaaaaaaaaaaaaaa "),
    ("", "token "),
    ("", "token"),
    ("", "bearer: "),
    ("authorization", " "),
    ("authorization:", " "),
    ("authorization: basic", " "),
    ("", "authorization:"),
    ("", "authorization "),
    ('"token"', " "),
    ('"token":', " "),
    ("", '"token" : '),
    ("://", "a"),
    ("://a:", "b"),
    ("://", ":"),
    ("", "://"),
    ("", "://a:b"),
    ("", "key="),
    ("", '"'),
    ("", "="),
    ("", "\u2003"),
)


@pytest.mark.parametrize(("head", "rest"), HOSTILE)
def test_time_grows_with_the_length_alone(head: str, rest: str) -> None:
    """A megabyte of whatever a server sends does not hold up the agent: what is quadratic takes hours for this."""
    text = head + rest * (MEGABYTE // len(rest))
    begun = time.perf_counter()
    redact(text)
    assert time.perf_counter() - begun < 10


def test_what_is_not_shown_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of the log costs no more for a text without end."""
    looked_at: list[int] = []

    def noted(text: str) -> str:
        looked_at.append(len(text))
        return redact(text)

    monkeypatch.setattr(logs, "redact", noted)
    for text in ("x" * MEGABYTE, "x\n" * MEGABYTE):
        assert len(record(logging.WARNING, "%s", text)) < 100_000
    assert "ValueError" in record(logging.ERROR, "broke off", error=ValueError("x" * MEGABYTE))
    Trouble(logging.getLogger("agent.test")).is_("not connected", "x" * MEGABYTE)
    assert max(looked_at) < 50_000


@pytest.mark.parametrize("known", [True, False])
def test_no_half_of_a_secret_is_left_at_a_cut(*, known: bool) -> None:
    """Wherever it is cut, with much or little before it that is hidden as well."""
    secret = "hush" * 20
    if known:
        hide(secret)
    said = f"no {secret}" if known else f"wss://user:{secret}@host"
    for before in range(0, 4_000, 7):
        for filler in ("x" * before, f"key={'x' * before} "):
            text = filler + said + "y" * 5_000
            assert "hush" not in excerpt(text, 100)
            assert len(excerpt(text, 100)) <= 100


def test_an_excerpt_says_what_it_leaves_out() -> None:
    """A short text is whole, a long one ends with its length."""
    assert excerpt("short", 100) == "short"
    assert excerpt("x" * 100, 100) == "x" * 100
    assert excerpt("x" * 101, 100) == "x" * 80 + "... [101 characters]"
    assert excerpt("x" * MEGABYTE, 100) == "x" * 76 + "... [1000000 characters]"
    assert excerpt("key=" + "x" * 200, 100) == "key=[hidden]"
    assert excerpt("key=" + "x" * MEGABYTE, 100) == "key=[hidden]... [1000004 characters]"
