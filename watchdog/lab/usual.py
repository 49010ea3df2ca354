"""What is usual: the references of baselines, computed over a track as a source would have answered at each moment.

Causal: what a sample is compared with is made of earlier samples only.
"""

from __future__ import annotations

import msgspec

from watchdog.core.rule import Rule
from watchdog.lab.track import Floats, Track


class References(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What each sample of a track is compared with; arrays of shape (samples,), NaN where there is nothing.

    `values` are references, `spreads` how far values usually lie from them on the bad side (only for `usual`),
    `samples` how many samples each is made of.
    """

    values: Floats
    samples: Floats
    spreads: Floats | None = None


def references_of(rule: Rule, track: Track, *, deployments: tuple[float, ...] = ()) -> References | None:
    """The references of a rule's baseline over a track; `None` for a rule without one.

    `deployments` are the moments (Unix seconds) at which new versions began, for `before-deployment`.
    Raises `ValueError` for `previous-version`, which one track cannot answer.
    """
    raise NotImplementedError
