"""What can go wrong between us and a Kubernetes API server, sorted by what is certain afterwards.

    ClusterError
    ├── NotSent      no connection, or we were told to wait: the request certainly did nothing
    ├── Unanswered   sent, and no whole answer came: a write may have happened
    └── Refused      the API server answered with an error; of a 4xx nothing was changed

This module must never name a resource.
"""

from __future__ import annotations

from typing import Final


class ClusterError(Exception):
    """Base of everything that `Cluster` raises; the text is for people, and never holds a credential."""


class NotSent(ClusterError):
    """The request did not reach the API server. `retry_after` are seconds to wait when it asked for time, else 0."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unanswered(ClusterError):
    """The request was sent, and no whole answer came in time."""


class Silent(Unanswered):
    """A stream that was open said nothing for too long: its connection is dead, or there was nothing to say."""


class Refused(ClusterError):
    """The API server said no: HTTP `status`, and `reason` as in its Status object (`NotFound`, `Conflict` …)."""

    def __init__(self, message: str, *, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def missing(self) -> bool:
        """The object, its namespace or its kind is not there."""
        return self.status == NOT_FOUND

    @property
    def forbidden(self) -> bool:
        """We have no right to it; the message names the missing rule."""
        return self.status in {401, 403}

    @property
    def conflict(self) -> bool:
        """The object is not at the `resourceVersion` we named, or (on create) exists already."""
        return self.status == CONFLICT

    @property
    def gone(self) -> bool:
        """The `resourceVersion` of a watch or a page is too old: list anew."""
        return self.status == GONE

    @property
    def uncertain(self) -> bool:
        """A 5xx: whatever was asked may have been done."""
        return self.status >= 500


NOT_FOUND: Final = 404
CONFLICT: Final = 409
GONE: Final = 410
INVALID: Final = 422
