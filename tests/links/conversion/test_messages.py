"""What the server says, in both shapes, and in none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.links.conversion import messages
from agent.links.conversion.messages import (
    Analysis,
    Failure,
    Job,
    JobChange,
    JobsList,
    Progress,
    Status,
    UnknownMessageError,
    clean,
    parse,
    to_id,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "conversion" / "server"
JOB = "550e8400-e29b-41d4-a716-446655440000"


def example(name: str) -> Any:
    return parse((EXAMPLES / f"{name}.json").read_text())


# The examples of the source document


def test_progress() -> None:
    """The document's progress, with everything the agent uses of it."""
    said = example("progress")
    assert isinstance(said, Progress)
    assert (said.job_id, said.status, said.percent, said.stage, said.eta_s) == (JOB, "processing", 45.5, "transcoding", 120.0)


def test_completed() -> None:
    """The document's change of state."""
    said = example("status_completed")
    assert isinstance(said, Status)
    assert (said.job_id, said.status, said.output_bytes, said.finished) == (JOB, "completed", 943718400, True)


def test_analysis() -> None:
    """What will be done to which stream, for people; the document's `video` is one object, not a list."""
    said = example("analysis")
    assert isinstance(said, Analysis)
    assert said.job_id == JOB
    assert said.words == "video hevc → h264; audio dts → aac, aac copied; subtitle subrip copied"


def test_error() -> None:
    """A failure in the document's shape: the message is for people."""
    said = example("error")
    assert isinstance(said, Failure)
    assert (said.status, said.reason) == ("failed", "FFmpeg process exited with code 1")
    assert said.details == "Error during encoding: No VAAPI device available"


def test_job_update() -> None:
    """A line of the socket of all jobs."""
    said = example("job_update")
    assert isinstance(said, JobChange)
    assert (said.job.job_id, said.job.title, said.job.percent) == (JOB, "movie.mkv", 45.5)


# The shape of the field


def test_progress_of_the_field() -> None:
    """No id, an integer, `eta`."""
    said = parse('{"type": "progress", "progress": 45, "status": "processing", "stage": "TRANSCODE", "eta": 120, "error": ""}')
    assert isinstance(said, Progress)
    assert (said.job_id, said.percent, said.stage, said.eta_s, said.reason) == (None, 45.0, "TRANSCODE", 120.0, "")


def test_failure_of_the_field() -> None:
    """A progress that says why it failed."""
    said = parse('{"type": "progress", "progress": 0, "status": "failed", "stage": "", "eta": null, "error": "no space left"}')
    assert isinstance(said, Progress)
    assert (said.status, said.reason, said.finished) == ("failed", "no space left", True)


def test_harmless_error() -> None:
    """A complaint about our own words is no failure of a job."""
    said = parse('{"type": "error", "message": "Invalid JSON"}')
    assert isinstance(said, Failure)
    assert not said.finished


def test_jobs_list() -> None:
    """What is no job in the list is left out."""
    said = parse(json.dumps({"type": "jobs_list", "jobs": [{"id": JOB, "status": "queued"}, None, "x", 7]}))
    assert isinstance(said, JobsList)
    assert [job.job_id for job in said.jobs] == [JOB]


def test_job_of_rest() -> None:
    """The keys of `GET /api/jobs/{id}/`."""
    job = Job.model_validate(
        {
            "id": JOB.upper(),
            "original_filename": "a film.mkv",
            "output_file_size": "1234",
            "status": "completed",
            "progress": 100,
            "current_stage": "DONE",
            "eta_seconds": None,
            "error_message": "",
            "created_at": "2026-01-05T09:00:00Z",
        }
    )
    assert (job.job_id, job.title, job.output_bytes, job.status) == (JOB, "a film.mkv", 1234, "completed")
    assert job.created_at == 1767603600.0


# Anything at all

ODD: list[Any] = [None, True, -5, 1e400, 10**400, "", "45,5", "NaN", "inf", [], {}, [{}], "x" * 100_000, "\ud800", -(2**70), 0.1]


@pytest.mark.parametrize(
    "key", ["progress", "status", "stage", "eta", "eta_seconds", "error", "job_id", "output_size", "streams", "jobs", "job"]
)
@pytest.mark.parametrize("kind", ["progress", "status", "error", "analysis", "jobs_list", "job_update"])
def test_any_value_anywhere(kind: str, key: str) -> None:
    """No value of any key makes a message unusable, and none leaves its range."""
    for value in ODD:
        said = parse(json.dumps({"type": kind, key: value}))
        if isinstance(said, Job):
            assert said.percent is None or 0 <= said.percent <= 100
            assert said.eta_s is None or said.eta_s >= 0
            assert len(said.stage) <= 60
            assert len(said.error) <= 500


@pytest.mark.parametrize(
    ("given", "percent"), [("45.5", 45.5), (" 45 % ", 45.0), (-3, 0.0), (250, 100.0), ("-0", 0.0), (True, None), ("half", None)]
)
def test_percent(given: Any, percent: float | None) -> None:
    """Numbers as strings are numbers; out of range is clamped."""
    assert Job.model_validate({"progress": given}).percent == percent


def test_null_is_as_if_missing() -> None:
    """Another name of the same thing counts then."""
    assert Job.model_validate({"eta_seconds": None, "eta": 5}).eta_s == 5.0


def test_without_a_type() -> None:
    """Progress that forgot to say so."""
    assert isinstance(parse('{"progress": 3}'), Progress)


@pytest.mark.parametrize(
    "frame", ["", "{", "[]", "7", "null", '{"type": "pong"}', '{"type": []}', "[" * 100_000, b"\xff", '{"a": 1}']
)
def test_no_message(frame: str | bytes) -> None:
    """One clear error, whatever it is."""
    with pytest.raises(UnknownMessageError):
        parse(frame)


def test_page() -> None:
    """A page, a list without pages, and things that are neither."""
    assert messages.page({"next": "http://x/?page=2", "results": [{"id": 1}, {"no": "id"}]}).more
    assert [job.job_id for job in messages.page([{"id": 1}, 2]).jobs] == ["1"]
    assert messages.page({"next": None, "results": None}).jobs == ()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a\nb\tc\u2028d", "a b c d"),
        ("\u202egpj.exe\u0000\x1b[31m", "gpj.exe [31m"),
        ("../../etc/passwd.mkv", "../../etc/passwd.mkv"),
        ('100% #1 "quoted" {\\an8}', '100% #1 "quoted" {\\an8}'),
        ("👨\u200d👩\u200d👧 日本", "👨\u200d👩\u200d👧 日本"),
        ("\ud800x", "x"),
        (7, "7"),
        (["x"], ""),
    ],
)
def test_texts(given: Any, shown: str) -> None:
    """One line without control or direction characters; else as it was said."""
    assert clean(given) == shown


def test_long_texts() -> None:
    """They end in an ellipsis."""
    assert clean("x" * 10_000, 20) == "x" * 19 + "…"


@pytest.mark.parametrize("given", [None, True, "", " ", "x" * 101, "a\nb", ".", "..", 10**30, 1.5, {}])
def test_no_id(given: Any) -> None:
    """What could not stand in an address is no id."""
    assert to_id(given) is None


def test_ids() -> None:
    """A UUID in lower case, as the server's routes want it; anything else as it is."""
    assert [to_id(JOB.upper()), to_id(17), to_id("a/../b")] == [JOB, "17", "a/../b"]


def test_a_token_that_no_header_could_hold() -> None:
    """Line ends would be another header."""
    assert messages.is_plain_token("9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b")
    assert not messages.is_plain_token("x\r\nX-Evil: 1")
    assert not messages.is_plain_token("")
