"""Looking at objects: as they are now (`Fresh`), or as the watches last told (`watchdog.cluster.feeds`).

What decides reads fresh; what only wants to notice reads what is told anyway and costs nothing. This module must never
write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import Refused, Unanswered
from watchdog.cluster.objects import Kind, O


class ListMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`metadata` of a list: where a watch goes on from, and the rest of a list that came in part."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Listed(msgspec.Struct, Generic[O], frozen=True, kw_only=True):
    """A list of objects."""

    metadata: ListMetadata = ListMetadata()
    items: tuple[O, ...] = ()


class Look(Protocol):
    """Reads objects. Raises `ClusterError`; safe to cancel; bounded by its own time."""

    async def one(self, kind: Kind[O], namespace: str, name: str) -> O:
        """One object. Raises `Refused` (`missing`) when it is not there."""
        ...

    async def all(
        self, kind: Kind[O], namespace: str, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[O]:
        """Every object in a namespace that has all of `labels`."""
        ...


class Sees(Protocol):
    """Learns what was read fresh, so that nobody is told something older afterwards (`Feeds`)."""

    def saw(self, kind: Kind[O], namespace: str, name: str, found: O | None) -> None:
        """An object as it was read just now; `None` when it is not there. Never raises."""
        ...


class Fresh:
    """Asks the API server each time; every call takes at most `timeout`. `feeds` learn what was read."""

    def __init__(self, cluster: Cluster, *, timeout: timedelta, feeds: Sees | None = None) -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._feeds = feeds

    async def one(self, kind: Kind[O], namespace: str, name: str) -> O:
        found: O | None = None
        try:
            answer = await self._cluster.get(kind.path(namespace, name), timeout=self._timeout)
            found = decode(answer, kind.shape)
        except Refused as error:
            if self._feeds is not None and error.missing:
                self._feeds.saw(kind, namespace, name, None)
            _tell_unserved(error, kind)
            raise
        if self._feeds is not None:
            self._feeds.saw(kind, namespace, name, found)
        return found

    async def all(
        self, kind: Kind[O], namespace: str, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[O]:
        query = {"labelSelector": selector(labels)} if labels else {}
        try:
            answer = await self._cluster.get(kind.path(namespace), query=query, timeout=self._timeout)
        except Refused as error:
            _tell_unserved(error, kind)
            raise
        return decode(answer, listed(kind.shape)).items


def _tell_unserved(error: Refused, kind: Kind[Any]) -> None:
    """Raises a 404 without a `Status` in words: it says nothing of an object, there is no such kind at all."""
    if error.missing and not error.reason:
        told = f"the API server serves no {kind.plural} of {kind.api_version}: is the kind installed?"
        raise Refused(told, status=error.status) from error


def selector(labels: Mapping[str, str]) -> str:
    """Labels as the API's `labelSelector` wants them."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def listed(shape: type[O]) -> type[Listed[O]]:
    """The shape of a list of objects."""
    return Listed[shape]  # type: ignore[valid-type]  # a type made at run time


T = TypeVar("T")


def decode(text: bytes, shape: type[T]) -> T:
    """What the API server sent. Raises `Unanswered` for what is no such object: something else answered."""
    try:
        return msgspec.json.decode(text, type=shape)
    except msgspec.MsgspecError as error:
        raise Unanswered(f"the API server's answer is not usable: {error}") from error
