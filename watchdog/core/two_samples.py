"""Whether values of one version are larger than those of another by more than chance: the Mann-Whitney U test.

No shape of the distributions is assumed, and one wild value weighs no more than any other.
This module must never compare other than two plain samples of finite numbers.
"""

from __future__ import annotations

import msgspec


class TwoSample(msgspec.Struct, frozen=True, kw_only=True):
    """What the comparison must show beside the margin (`baseline.test`).

    `confidence` is one-sided (0..1); `effect` the least share of pairs in which the new version is the worse one,
    Vargha and Delaney's A (0.5 is no difference, 0.71 is called large); `samples` how many newest values of each
    version are compared, and at least half as many must be there.
    """

    confidence: float = 0.99
    effect: float = 0.71
    samples: int = 20
