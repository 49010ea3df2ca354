"""What is answered to a request that is stored and that nobody has carried out yet."""

from __future__ import annotations

from watchdog.api.shapes import Shape


class Accepted(Shape, frozen=True, kw_only=True):
    """Stored, not answered yet. Sent again with the same `Idempotency-Key`, it gets the answer."""

    request: str
    detail: str
