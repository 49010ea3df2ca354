"""What the API answers about GitOps: what was let go on, and what to expect of it.

This module must never hold a field for a secret.
"""

from __future__ import annotations

from watchdog.api.shapes import Shape


class Resumed(Shape, frozen=True, kw_only=True):
    """What was suspended for a rollback of a service and may write its target again."""

    service: str
    resumed: str
    warning: str
