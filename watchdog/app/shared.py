"""What providers share: the way into the cluster and what it tells, and the words for people.

Opens nothing before one of them uses it.

A provider says what it wants in its class attribute `WANTS`, and is given that by name when it is built. This module
must never close while a provider is in use.
"""

from __future__ import annotations

import random
from typing import Any

from watchdog.aio.clock import Clock
from watchdog.channels.rendering import Rendering
from watchdog.cluster.client import Cluster
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.settings import ClusterSettings


class Shared:
    """One of each for the whole process; providers of all families, and the leader, use the same."""

    def __init__(
        self, settings: ClusterSettings | None = None, *, clock: Clock, seed: int | None = None
    ) -> None:
        self.cluster = Cluster(settings, clock=clock)
        self.feeds = Feeds(self.cluster, clock=clock, rng=random.Random(seed))
        self.rendering = Rendering()

    def wanted(self, provider: Any) -> dict[str, Any]:
        """What a provider's class wants, as keyword arguments."""
        return {name: getattr(self, name) for name in getattr(provider, "WANTS", ())}

    async def aclose(self) -> None:
        """Close all. Idempotent, never raises."""
        await self.feeds.aclose()
        await self.cluster.aclose()
