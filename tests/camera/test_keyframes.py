"""Who gets a keyframe, and when."""

from __future__ import annotations

from agent.camera.keyframes import JOIN_GAP_S, LOSS_GAP_S, VIEWER_GAP_S, Keyframes


def test_nobody_asks() -> None:
    """None is due."""
    assert not Keyframes().is_due(1000.0)


def test_a_joiner_gets_one_at_once() -> None:
    """And only one."""
    keyframes = Keyframes()
    keyframes.joined()
    assert keyframes.is_due(10.0)
    keyframes.made(10.0)
    assert not keyframes.is_due(20.0)


def test_joiners_shortly_after_one_another_share_the_next() -> None:
    """It comes a little later, and is not forgotten."""
    keyframes = Keyframes()
    keyframes.made(10.0)
    keyframes.joined()
    keyframes.joined()
    assert not keyframes.is_due(10.0 + JOIN_GAP_S / 2)
    assert keyframes.is_due(10.0 + JOIN_GAP_S)


def test_losses_are_answered_less_often() -> None:
    """Others who lose the picture share a keyframe a second."""
    keyframes = Keyframes()
    keyframes.made(10.0)
    for viewer in range(5):
        keyframes.lost(viewer, 10.1)
    assert not keyframes.is_due(10.0 + JOIN_GAP_S)
    assert keyframes.is_due(10.0 + LOSS_GAP_S)


def test_a_viewer_that_asks_30_times_a_second() -> None:
    """Cannot make every frame a keyframe: it gets one every two seconds."""
    keyframes = Keyframes()
    made = 0
    for frame in range(300):
        now = 100 + frame / 30
        keyframes.lost(1, now)
        if keyframes.is_due(now):
            keyframes.made(now)
            made += 1
    assert made == 10 / VIEWER_GAP_S


def test_a_viewer_that_left_is_forgotten() -> None:
    """Nothing is kept of it."""
    keyframes = Keyframes()
    keyframes.lost(1, 1.0)
    keyframes.gone(1)
    keyframes.gone(1)
    assert keyframes._heard == {}
