"""Looking at what the feeds told: costs nothing, and says so when it cannot be believed.

Nothing older than what somebody has read past the feeds is ever shown: a watch that lags behind our own write would
look as if somebody had undone it. This module must never ask the API server, nor answer from a feed that is not
current.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from watchdog.cluster.errors import NOT_FOUND, ClusterError, Refused
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.objects import Kind, O


class Stale(ClusterError):
    """No feed can say it at the moment: read it fresh."""


class Told:
    """A `Look` at what the feeds hold. Raises `Stale` when no feed that is followed is current."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds

    async def one(self, kind: Kind[O], namespace: str, name: str) -> O:
        absent = False
        for feed in self._feeds.holding(kind, namespace):
            if not feed.current or feed.topic.name not in {"", name}:
                continue
            found = feed.objects.get((namespace, name))
            if self._feeds.outdated(kind, namespace, name, found):
                continue
            if found is not None:
                return found
            absent = absent or not feed.topic.labels
        if absent:
            what = f"{kind.plural} {name!r} in {namespace}"
            raise Refused(f"{what}: not found", status=NOT_FOUND, reason="NotFound")
        raise Stale(f"{kind.plural} {name!r} in {namespace}: no watch can tell at the moment")

    async def all(
        self, kind: Kind[O], namespace: str, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[O]:
        wanted = dict(labels or {})
        for feed in self._feeds.holding(kind, namespace):
            if feed.current and not feed.topic.name and feed.topic.labels_within(wanted):
                return [
                    one
                    for one in feed.objects.values()
                    if one.metadata.namespace == namespace or not namespace
                    if wanted.items() <= one.metadata.labels.items()
                ]
        raise Stale(f"{kind.plural} in {namespace}: no watch can tell at the moment")
