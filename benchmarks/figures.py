"""Figures of a series of timings."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` is 0..1. Raises `ValueError` when there are no values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def row(name: str, seconds: Sequence[float]) -> tuple[str, ...]:
    """A row of the table, in milliseconds."""
    shown = [percentile(seconds, share) for share in (0.5, 0.9, 0.99)]
    cells = [min(seconds), *shown, max(seconds)]
    return (
        name,
        str(len(seconds)),
        *(f"{cell * 1000:.3g}" if cell < 0.1 else f"{cell * 1000:.0f}" for cell in cells),
    )
