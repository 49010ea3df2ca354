"""How long a message is tried on its channel, and how long the channel may take nothing before others are told.

This module must never know what a message says, nor decide who is told instead.
"""

from __future__ import annotations

from datetime import timedelta

#: First pause after a failed attempt; it doubles up to the longest. Jitter takes up to half of it away, so
#: that messages that failed together do not come back together.
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE, LONGEST_URGENT_PAUSE = timedelta(minutes=5), timedelta(seconds=30)
#: A message that nobody took this long after it was made is given up (after one more attempt).
GIVE_UP_AFTER = timedelta(hours=24)
#: A channel that has taken nothing for so long while something urgent waits is late.
LATE_AFTER = timedelta(seconds=60)


def pause_after(attempts: int, *, urgent: bool, share: float) -> timedelta:
    """How long to wait after so many failed attempts: 1 s, 2 s, 4 s … 5 min, times a random `share` of 0.5 to 1."""
    longest = LONGEST_URGENT_PAUSE if urgent else LONGEST_PAUSE
    return min(FIRST_PAUSE * 2.0 ** min(attempts - 1, 20), longest) * share
