"""How many bits the shared encoder may spend, from what the viewers report. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field

FLOOR_BPS = 300_000
HOPELESS_BPS = 180_000
"""A viewer whose line carries less than this is not waited for: the others would be punished for nothing."""
HEADROOM = 0.9
"""Of what a line is estimated to carry."""
SHORT = 0.9
"""An estimate below this part of what is really sent means that the line is full. Comparing with what may be sent would not
do: viewers estimate from what they get, so a still picture makes every line look narrow."""
STEP = 0.75
LOSSY = 0.10
LOSSLESS = 0.02
HOPELESS_LOSS = 0.30

SETTLE_S = 3.0
"""A viewer's first estimates say more about its start than about its line."""
CONFIRM_S = 1.0
"""An estimate must hold this long before it lowers the bitrate, and so must a viewer's hopelessness be gone."""
LOWER_EVERY_S = 1.0
RAISE_AFTER_S = 8.0
RAISE_AFTER_LONGEST_S = 64.0
REGRET_S = 12.0
"""Lowered again this soon after a raise: the next raise waits twice as long."""
STALE_S = 15.0
"""A report older than this says nothing any more."""


class SharedRate:
    """The bitrate that suits the slowest viewer that is not hopeless, in steps between the floor and the configured one.

    `now` is in monotonic seconds and never goes back.
    """

    def __init__(self, configured_bps: int) -> None:
        floor = min(FLOOR_BPS, configured_bps)
        steps = [configured_bps]
        while steps[-1] * STEP > floor:
            steps.append(int(steps[-1] * STEP))
        if steps[-1] > floor:
            steps.append(floor)
        self._steps = steps
        self._step = 0
        self._sent_bps = 0.0
        self._viewers: dict[int, _Viewer] = {}
        self._changed_at = float("-inf")
        self._raised_at = float("-inf")
        self._raise_after_s = RAISE_AFTER_S

    @property
    def bps(self) -> int:
        """Bits per second the encoder may spend now."""
        return self._steps[self._step]

    def join(self, viewer: int, now: float) -> None:
        """A viewer begins to receive."""
        self._viewers[viewer] = _Viewer(now)

    def leave(self, viewer: int, now: float) -> None:
        """A viewer is gone; with the last one goes everything that was learned."""
        self._viewers.pop(viewer, None)
        if not self._viewers:
            self._step = 0
            self._sent_bps = 0.0
            self._raise_after_s = RAISE_AFTER_S
            self._changed_at = self._raised_at = now

    def estimate(self, viewer: int, bps: int, now: float) -> None:
        """The viewer says what its line carries (REMB)."""
        known = self._viewers.get(viewer)
        if known is None:
            return
        known.estimate_bps, known.estimated_at = bps, now
        if bps >= self._sent_bps * SHORT:
            known.short_since = None
        elif known.short_since is None:
            known.short_since = now
        if bps >= HOPELESS_BPS and not known.is_lossy(HOPELESS_LOSS, now):
            known.hopeful_since = known.hopeful_since if known.hopeful_since is not None else now
        else:
            known.hopeful_since = None

    def loss(self, viewer: int, fraction: float, now: float) -> None:
        """The viewer says how many of the packets since its last report were lost, 0 to 1."""
        known = self._viewers.get(viewer)
        if known is None:
            return
        known.lost, known.lost_at = fraction, now
        if fraction < LOSSY:
            known.lossy_since = None
        elif known.lossy_since is None:
            known.lossy_since = now
        if fraction > LOSSLESS:
            known.clean_since = now

    def is_hopeless(self, viewer: int) -> bool:
        """Whether the others no longer wait for this viewer."""
        known = self._viewers.get(viewer)
        return known is not None and known.hopeless

    def decide(self, now: float, sent_bps: float) -> int:
        """The bitrate from now on, in bits per second; to be asked about once a second.

        `sent_bps` is what the encoder has really made since the last time.
        """
        self._sent_bps = sent_bps if not self._sent_bps else (self._sent_bps + sent_bps) / 2
        for viewer in self._viewers.values():
            self._judge(viewer, now)
        counted = [viewer for viewer in self._viewers.values() if not viewer.hopeless]
        if not counted:
            if self._viewers:
                self._step = len(self._steps) - 1
            return self.bps
        wanted = max(self._wanted(viewer, now) for viewer in counted)
        if wanted > self._step:
            self._lower(wanted, now)
        elif self._step > 0 and now - self._changed_at >= self._raise_after_s and self._all_carry(counted, now):
            self._step -= 1
            self._changed_at = self._raised_at = now
        elif now - self._raised_at > REGRET_S:
            self._raise_after_s = max(RAISE_AFTER_S, self._raise_after_s if self._step else RAISE_AFTER_S)
        return self.bps

    def _lower(self, wanted: int, now: float) -> None:
        if now - self._changed_at < LOWER_EVERY_S:
            return
        if now - self._raised_at < REGRET_S:
            self._raise_after_s = min(RAISE_AFTER_LONGEST_S, self._raise_after_s * 2)
        self._step = wanted
        self._changed_at = now

    def _judge(self, viewer: _Viewer, now: float) -> None:
        """Whether the viewer is hopeless now."""
        at_floor = self._step == len(self._steps) - 1
        if viewer.hopeless:
            calm = viewer.hopeful_since is not None and now - viewer.hopeful_since >= 2 * CONFIRM_S
            viewer.hopeless = not (calm and not viewer.is_lossy(HOPELESS_LOSS, now))
        elif viewer.settled(now):
            short = viewer.is_short(now) and viewer.estimate_bps < HOPELESS_BPS
            drowning = at_floor and viewer.is_lossy(HOPELESS_LOSS, now) and viewer.lossy_for(now) >= 3 * CONFIRM_S
            viewer.hopeless = short or drowning
            if viewer.hopeless:
                viewer.hopeful_since = None

    def _wanted(self, viewer: _Viewer, now: float) -> int:
        """The step that suits this viewer; the present one if it has nothing to complain about."""
        wanted = self._step
        if viewer.settled(now) and viewer.is_short(now):
            target = viewer.estimate_bps * HEADROOM
            fitting = (step for step, bps in enumerate(self._steps) if bps <= target)
            wanted = max(wanted, next(fitting, len(self._steps) - 1))
        if viewer.lossy_for(now) >= CONFIRM_S and viewer.is_lossy(LOSSY, now):
            wanted = max(wanted, min(self._step + 1, len(self._steps) - 1))
        return wanted

    def _all_carry(self, viewers: list[_Viewer], now: float) -> bool:
        """Whether every line would carry what the next step up makes of the present picture."""
        following = self._sent_bps * self._steps[self._step - 1] / self.bps
        for viewer in viewers:
            if now - viewer.clean_since < min(self._raise_after_s, RAISE_AFTER_S) / 2:
                return False
            if viewer.has_estimate(now) and viewer.estimate_bps < following * HEADROOM:
                return False
        return True


@dataclass(slots=True)
class _Viewer:
    joined_at: float
    estimate_bps: int = 0
    estimated_at: float = float("-inf")
    short_since: float | None = None
    """Since when the line has been estimated to carry less than the bitrate."""
    lost: float = 0.0
    lost_at: float = float("-inf")
    lossy_since: float | None = None
    clean_since: float = field(default=float("-inf"))
    """When packets were lost last."""
    hopeless: bool = False
    hopeful_since: float | None = None

    def settled(self, now: float) -> bool:
        return now - self.joined_at >= SETTLE_S

    def has_estimate(self, now: float) -> bool:
        return now - self.estimated_at < STALE_S

    def is_short(self, now: float) -> bool:
        return self.has_estimate(now) and self.short_since is not None and now - self.short_since >= CONFIRM_S

    def is_lossy(self, fraction: float, now: float) -> bool:
        return now - self.lost_at < STALE_S and self.lost >= fraction

    def lossy_for(self, now: float) -> float:
        return 0.0 if self.lossy_since is None else now - self.lossy_since
