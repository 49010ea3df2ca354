"""How long messages are tried: pauses double, urgent ones stay short."""

from __future__ import annotations

from datetime import timedelta

from watchdog.core.patience import FIRST_PAUSE, LONGEST_PAUSE, LONGEST_URGENT_PAUSE, pause_after


def test_pauses_double_up_to_the_longest_of_their_kind() -> None:
    quiet = [pause_after(attempts, urgent=False, share=1.0) for attempts in range(1, 40)]
    urgent = [pause_after(attempts, urgent=True, share=1.0) for attempts in range(1, 40)]

    assert quiet[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert quiet[-1] == LONGEST_PAUSE
    assert urgent[-1] == LONGEST_URGENT_PAUSE
    assert pause_after(3, urgent=True, share=0.5) == timedelta(seconds=2)
