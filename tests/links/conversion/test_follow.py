"""Following a job, a story per case. Time is told, never waited for."""

from __future__ import annotations

from typing import Any

import pytest

from agent.links.conversion.follow import Follow, FollowTimers, Phase
from agent.links.conversion.messages import Analysis, Job, Progress, Status

JOB = "550e8400-e29b-41d4-a716-446655440000"


def progress(**said: Any) -> Progress:
    return Progress.model_validate({"type": "progress", "status": "processing", **said})


def rest(**said: Any) -> Job:
    return Job.model_validate({"id": JOB, "original_filename": "film.mkv", **said})


def follow(now: float = 0.0) -> Follow:
    """One that asks at the shortest interval."""
    return Follow(JOB, "film.mkv", now, uniform=lambda least, _most: least)


def told(job: Follow) -> tuple[str, float | None]:
    """Its phase, and when REST is to be asked."""
    return str(job.phase), job.ask_at


def ask(job: Follow, now: float, **said: Any) -> None:
    """REST is asked and answers at once."""
    job.asking()
    job.looked(rest(**said), now)


def test_it_begins_with_a_question_to_rest() -> None:
    """Its answer is the first thing known; then it is asked every 10 to 15 s."""
    job = follow(100.0)
    assert job.ask_at == 100.0
    assert not job.known
    job.asking()
    assert told(job)[-1] is None
    job.looked(rest(status="queued", progress=0), 100.2)
    assert (job.known, job.status, *told(job)) == (True, "queued", "watching", 110.2)


def test_between_two_questions_pass_10_to_15_s() -> None:
    """So that many screens do not ask in step."""
    spans: list[tuple[float, float]] = []

    def uniform(least: float, most: float) -> float:
        spans.append((least, most))
        return most

    job = Follow(JOB, "", 0.0, uniform=uniform)
    ask(job, 0.0, status="processing")
    assert spans == [(10.0, 15.0)]
    assert job.ask_at == 15.0


def test_the_usual_story() -> None:
    """Queued, analysing, processing, completed."""
    job = follow()
    ask(job, 0.0, status="pending")
    job.heard(progress(status="analyzing", progress=0, stage="ANALYZING"), 1.0)
    assert (job.running, job.status, job.percent) == (True, "analyzing", 0.0)
    job.heard(progress(progress=5, stage="TRANSCODE"), 2.0)
    job.heard(progress(progress=50, stage="TRANSCODE", eta=60), 30.0)
    assert (job.percent, job.stage, job.eta_s(40.0), job.elapsed_s(40.0)) == (50.0, "TRANSCODE", 50.0, 39.0)
    job.heard(progress(status="completed", progress=100, stage="DONE"), 90.0)
    assert told(job) == ("confirming", 90.0)
    ask(job, 90.1, status="completed", progress=100, output_file_size=1234)
    assert (job.phase, job.over, job.output_bytes, job.ask_at) == (Phase.COMPLETED, True, 1234, None)


def test_the_shown_percentage_never_falls() -> None:
    """The field's order of things: 5, 0, 0, 100, 95, 98, 100."""
    job = follow()
    shown = []
    for second, percent in enumerate([5, 0, 0, 100, 95, 98, 100]):
        job.heard(progress(progress=percent), float(second))
        shown.append(job.percent)
    assert shown == [5, 5, 5, 100, 100, 100, 100]
    ask(job, 10.0, status="processing", progress=12)
    assert job.percent == 100


def test_a_premature_completed() -> None:
    """REST is asked with back-off until it says so, too: 0.5 to 5 s."""
    job = follow()
    ask(job, 0.0, status="processing", progress=40)
    job.heard(progress(status="completed", progress=100), 5.0)
    assert job.percent == 40  # a premature end is no progress
    pauses = []
    now = 5.0
    for _ in range(8):
        assert job.ask_at is not None
        pauses.append(job.ask_at - now)
        now = job.ask_at
        ask(job, now, status="processing", progress=41)
    assert pauses == pytest.approx([0, 0.5, 1, 2, 4, 5, 5, 5])
    assert job.phase is Phase.CONFIRMING
    ask(job, now, status="completed")
    assert str(job.phase) == "completed"


def test_a_completed_that_was_never_true() -> None:
    """After 10 min the job is watched as before; a later one is believed as little, and as much."""
    job = follow()
    ask(job, 0.0, status="processing")
    job.heard(progress(status="completed"), 1.0)
    ask(job, 600.9, status="processing")
    assert job.phase is Phase.CONFIRMING
    ask(job, 601.0, status="processing")
    assert (job.phase, job.ask_at) == (Phase.WATCHING, 611.0)
    job.heard(progress(status="completed"), 700.0)
    assert (job.phase, job.ask_at) == (Phase.CONFIRMING, 700.0)


def test_the_end_is_announced_while_a_question_is_under_way() -> None:
    """Its answer may have been written before: it is asked again at once."""
    job = follow()
    job.asking()
    job.heard(progress(status="completed"), 0.1)
    job.looked(rest(status="processing"), 0.2)
    assert job.ask_at == 0.1


def test_repeated_completed_does_not_begin_the_backoff_anew() -> None:
    """A server that repeats itself is not asked more often."""
    job = follow()
    job.heard(progress(status="completed"), 0.0)
    ask(job, 0.0, status="processing")
    ask(job, 0.5, status="processing")
    job.heard(progress(status="completed"), 0.6)
    assert job.ask_at == 1.5


def test_silence() -> None:
    """Encoding says nothing for minutes: the percentage is believed for 30 s, then the elapsed time counts; nothing is over."""
    job = follow()
    job.heard(progress(progress=20, eta=300), 10.0)
    assert not job.silent(39.9)
    for second in range(20, 600, 10):
        ask(job, float(second), status="processing", progress=20)  # REST says the same again: no news
    assert job.silent(600.0)
    assert (job.phase, job.elapsed_s(600.0), job.eta_s(600.0)) == (Phase.WATCHING, 590.0, None)
    job.heard(progress(progress=60), 601.0)
    assert not job.silent(601.0)


def test_time_left() -> None:
    """It is the socket's to say, and to say no more; REST without it changes nothing."""
    job = follow()
    job.heard(progress(progress=20, eta=100), 0.0)
    ask(job, 10.0, status="processing", progress=20)
    job.heard(rest(status="processing", progress=20), 10.0, listed=True)
    assert job.eta_s(10.0) == 90.0
    job.heard(progress(progress=21), 11.0)
    assert job.eta_s(11.0) is None


def test_the_list_says_the_same_again() -> None:
    """That is no news either."""
    job = follow()
    job.heard(progress(progress=20), 0.0)
    for second in range(0, 60, 15):
        job.heard(rest(status="processing", progress=20), float(second), listed=True)
    assert job.silent(60.0)
    job.heard(rest(status="processing", progress=21), 61.0, listed=True)
    assert not job.silent(61.0)


def test_no_word_at_all() -> None:
    """After two minutes without any answer the screen shows nothing of it; it comes back with the next word."""
    job = follow()
    assert not job.shown(0.0)
    job.heard(progress(progress=20), 0.0)
    assert job.shown(119.0)
    assert not job.shown(120.0)
    ask(job, 500.0, status="processing", progress=20)
    assert job.shown(600.0)


def test_nobody_works_on_it_any_more() -> None:
    """What is only repeated for half an hour, by REST, the list or snapshots, is not shown until it changes."""
    job = follow()
    job.heard(progress(progress=20.4, stage="VIDEO"), 0.0)
    for second in range(10, 1800, 10):
        ask(job, float(second), status="processing", progress=20, current_stage="VIDEO")
        job.heard(rest(status="processing", progress=20.4), second + 1.0, listed=True)
        job.heard(Status.model_validate({"type": "status", "progress": 20, "status": "processing", "stage": ""}), second + 2.0)
        assert job.shown(second + 3.0)
    assert job.still_s(1794.0) == pytest.approx(1794, abs=15)
    ask(job, 1820.0, status="processing", progress=20, current_stage="VIDEO")
    assert not job.shown(1820.0)
    ask(job, 1830.0, status="processing", progress=21, current_stage="VIDEO")
    assert job.shown(1830.0)
    assert job.still_s(1830.0) == 0


def test_progress_that_says_the_same_is_a_sign_of_life() -> None:
    """It is only sent while somebody works on it."""
    job = follow()
    for second in range(0, 7200, 60):
        job.heard(progress(progress=0, stage="VIDEO"), float(second))
        assert job.shown(float(second))
    ask(job, 7200.0, status="completed")
    assert job.still_s(9000.0) == 0


def test_progress_in_rest_alone_is_news() -> None:
    """A socket that is refused costs no more than smoothness."""
    job = follow()
    ask(job, 0.0, status="processing", progress=10)
    ask(job, 100.0, status="processing", progress=30)
    assert not job.silent(100.0)
    assert job.percent == 30


def test_no_percentage_at_all() -> None:
    """Elapsed time from the beginning."""
    job = follow()
    job.heard(progress(progress=None), 5.0)
    assert job.silent(6.0)
    assert job.elapsed_s(6.0) == 1.0


def test_failure_in_the_shape_of_the_field() -> None:
    """The socket says why; REST confirms it."""
    job = follow()
    ask(job, 0.0, status="processing")
    job.heard(progress(status="failed", progress=0, error="No VAAPI device"), 5.0)
    assert (job.phase, job.ask_at) == (Phase.CONFIRMING, 5.0)
    ask(job, 5.1, status="failed", progress=0)
    assert (job.phase, job.reason) == (Phase.FAILED, "No VAAPI device")


def test_failure_that_only_rest_tells() -> None:
    """The answer's own words count."""
    job = follow()
    ask(job, 0.0, status="failed", error_message="Conversion failed")
    assert (job.phase, job.reason) == (Phase.FAILED, "Conversion failed")


def test_a_failure_that_was_not_one() -> None:
    """The server tries another encoder: the job goes on and its film is not lost."""
    job = follow()
    job.heard(progress(status="failed", error="hardware encoder"), 0.0)
    ask(job, 0.1, status="processing", progress=1)
    ask(job, 700.0, status="processing", progress=50)
    assert told(job)[0] == "watching"
    ask(job, 800.0, status="completed")
    assert job.phase is Phase.COMPLETED


def test_cancelled_silently() -> None:
    """Nothing is said on the socket; REST tells at the next question."""
    job = follow()
    ask(job, 0.0, status="processing", progress=30)
    assert job.ask_at == 10.0
    ask(job, 10.0, status="cancelled", progress=30)
    assert (job.phase, job.over) == (Phase.CANCELLED, True)


def test_deleted() -> None:
    """A 404 ends it."""
    job = follow()
    ask(job, 0.0, status="processing")
    job.asking()
    job.missing()
    assert (job.phase, job.ask_at) == (Phase.GONE, None)


def test_the_server_is_away() -> None:
    """It is asked for ever, at the usual pace; what it says when it is back counts."""
    job = follow()
    for second in range(0, 36_000, 10):
        assert job.ask_at == second
        job.asking()
        job.unanswered(float(second))
    assert not job.over
    ask(job, 36_000.0, status="completed", output_file_size=7)
    assert job.phase is Phase.COMPLETED


def test_the_server_refuses() -> None:
    """Slowly, whatever the socket says."""
    job = follow()
    job.asking()
    job.unanswered(0.0, refused=True)
    assert job.ask_at == 30.0


def test_snapshot_after_connecting() -> None:
    """It says how far the job is now, also after a connection was lost."""
    job = follow()
    job.heard(progress(progress=10), 0.0)
    job.heard(
        Status.model_validate({"type": "status", "progress": 80, "status": "processing", "stage": "VIDEO", "eta": 9}), 500.0
    )
    assert (job.percent, job.stage, job.eta_s(500.0)) == (80.0, "VIDEO", 9.0)


def test_words_of_another_job() -> None:
    """They are not for this one."""
    job = follow()
    job.heard(progress(job_id="another", progress=99), 0.0)
    job.analysed(Analysis.model_validate({"type": "analysis", "job_id": "another", "streams": {"video": {"codec": "hevc"}}}))
    assert (job.percent, job.streams, job.known) == (None, "", False)


def test_analysis() -> None:
    """What will be done to which stream is kept for the screen."""
    job = follow()
    said = Analysis.model_validate({"type": "analysis", "streams": {"audio": [{"codec": "dts", "target_codec": "aac"}]}})
    assert job.analysed(said)
    assert job.streams == "audio dts → aac"
    assert not job.analysed(said)
    assert not job.analysed(Analysis.model_validate({"type": "analysis"}))


def test_nothing_is_heard_after_the_end() -> None:
    """A late message changes nothing."""
    job = follow()
    ask(job, 0.0, status="completed", progress=100)
    job.heard(progress(progress=3, status="failed"), 1.0)
    job.looked(rest(status="failed"), 1.0)
    job.missing()
    job.unanswered(1.0)
    assert (job.phase, job.percent, job.ask_at) == (Phase.COMPLETED, 100.0, None)


def test_an_unknown_state_is_still_under_way() -> None:
    """Only the known ends are ends."""
    job = follow()
    ask(job, 0.0, status="paused", progress=3)
    assert (job.phase, job.percent) == (Phase.WATCHING, 3.0)


def test_timers_of_the_contract() -> None:
    """The figures it names."""
    timers = FollowTimers()
    assert (timers.poll_least_s, timers.poll_most_s) == (10, 15)
    assert (timers.confirm_first_s, timers.confirm_most_s, timers.confirm_s) == (0.5, 5, 600)
