"""A clock that was set back: moments that were remembered then lie ahead of now, and waiting for them is deafness.

This module must never read a clock.
"""

from __future__ import annotations

from datetime import datetime, timedelta

#: Clocks of two machines, and two reads that overtake each other, differ by less; more is a clock that was set back.
SET_BACK = timedelta(minutes=1)


def ahead(moment: datetime | None, now: datetime, *, beyond: timedelta = timedelta()) -> bool:
    """Whether a moment can only have been remembered by a clock that was set back since.

    `beyond` is how far ahead of the clock it may lie for its own reasons: the end of a window, for example.
    """
    return moment is not None and moment - now > beyond + SET_BACK
