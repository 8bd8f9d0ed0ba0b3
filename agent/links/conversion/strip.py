"""What the strip on the screen says of jobs: one line each. Pure; texts are shortened by whoever draws them."""

from __future__ import annotations

from agent.links.conversion.follow import Follow, Phase
from agent.links.conversion.messages import clean
from agent.media.wants import amount
from agent.screen.messages import StripLine

LONGEST_TITLE = 200
LONGEST_REASON = 160
_STAGES = {
    "analyzing": "Analysing",
    "audio": "Converting the sound",
    "checking": "Checking",
    "done": "Finishing",
    "encoding": "Encoding",
    "integrity": "Checking",
    "pending": "Waiting",
    "processing": "Converting",
    "queued": "Waiting",
    "remux": "Repacking",
    "transcode": "Converting",
    "transcoding": "Converting",
    "upload": "Uploading",
    "verify": "Checking",
    "video": "Converting the picture",
}


def follow_line(follow: Follow, now: float, *, in_line: bool = False) -> StripLine:
    """A job on the server: stage, percentage and time left; in silence the elapsed time; `in_line`: it is not followed yet."""
    title = clean(follow.title, LONGEST_TITLE)
    if in_line or not follow.running:
        if follow.phase is Phase.CONFIRMING:
            return StripLine(title, "Finishing", _fraction(follow.percent), follow.streams)
        return StripLine(title, "Waiting", 0.0, follow.streams)
    stage = "Finishing" if follow.phase is Phase.CONFIRMING else stage_words(follow.stage or follow.status)
    if follow.silent(now):
        return StripLine(title, f"{stage} · {clock(follow.elapsed_s(now))} so far", None, follow.streams)
    words = [stage, f"{follow.percent:.0f} %"]
    if (eta_s := follow.eta_s(now)) is not None:
        words.append(f"{clock(eta_s)} left")
    return StripLine(title, " · ".join(words), _fraction(follow.percent), follow.streams)


def download_line(title: str, received_bytes: int, total_bytes: int | None) -> StripLine:
    """An output on its way here."""
    title = clean(title, LONGEST_TITLE)
    if not total_bytes:
        words = f" · {amount(received_bytes)}" if received_bytes else ""
        return StripLine(title, f"Loading{words}", None)
    fraction = min(1.0, received_bytes / total_bytes)
    return StripLine(title, f"Loading · {int(fraction * 100)} %", fraction)


def notice_line(title: str, sentence: str) -> StripLine:
    """That something went wrong."""
    return StripLine(clean(title, LONGEST_TITLE), clean(sentence, LONGEST_REASON), alarm=True)


def stage_words(stage: str) -> str:
    """A stage for people; one that is not known as the server calls it."""
    known = _STAGES.get(stage.lower())
    if known is not None:
        return known
    words = clean(stage, 40).replace("_", " ")
    return words[:1].upper() + words[1:].lower() if words.isupper() else words[:1].upper() + words[1:]


def clock(seconds: float) -> str:
    """A duration: "0:05", "12:34", "1:02:03"."""
    whole = int(seconds)
    minutes = f"{whole // 60 % 60:02}" if whole >= 3600 else f"{whole // 60}"
    return f"{whole // 3600}:{minutes}:{whole % 60:02}" if whole >= 3600 else f"{minutes}:{whole % 60:02}"


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
