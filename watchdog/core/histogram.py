"""Quantiles of classic histograms, by the arithmetic of Prometheus's `histogram_quantile`.

A histogram is a family of counters with the label `le`: how many observations were at most that large. Native
histograms have no such series and are not read here. This module must never invent precision: a quantile beyond the
highest finite bound is only known to be larger than that bound.
"""

from __future__ import annotations

import re

_BUCKET = "_bucket"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def buckets_of(selector: str) -> str:
    """The selector of a histogram's buckets, from one that names the histogram as a whole, or its buckets already.

    The name stands in front of the braces; configuration saw to that. Raises `ValueError` when it does not.
    """
    stripped = selector.strip()
    name = _NAME.match(stripped)
    if name is None:
        raise ValueError(f"{selector!r}: a histogram is named in front of the braces")
    rest = stripped[name.end() :].lstrip()
    return (name.group() if name.group().endswith(_BUCKET) else name.group() + _BUCKET) + rest
