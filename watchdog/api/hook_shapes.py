"""What the inbound webhooks answer. Changing a name here breaks other people's programs: add, never rename."""

from __future__ import annotations

from watchdog.api.shapes import Shape


class Ignored(Shape, frozen=True, kw_only=True):
    """A delivery that was understood and is of no use here. `status` is `ignored`."""

    status: str
    reason: str


class HeardAlert(Shape, frozen=True, kw_only=True):
    """An alert for which a service's checks are asked at once."""

    fingerprint: str
    service: str


class IgnoredAlert(Shape, frozen=True, kw_only=True):
    """An alert that nothing is done for."""

    fingerprint: str
    reason: str


class Heard(Shape, frozen=True, kw_only=True):
    """What was made of a delivery of alerts. None of them is a verdict."""

    heard: tuple[HeardAlert, ...]
    ignored: tuple[IgnoredAlert, ...]
