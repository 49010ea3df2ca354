"""What an event or a list anew changed in what a feed holds.

This module must never ask the API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic

import msgspec

from watchdog.cluster.objects import O

#: Namespace and name of an object.
Key = tuple[str, str]


class Difference(msgspec.Struct, Generic[O], frozen=True, kw_only=True):
    """One object before and after: `before` is `None` for a new one, `after` for one that is gone."""

    before: O | None = None
    after: O | None = None

    @property
    def newest(self) -> O:
        """The object as it is, or as it was last."""
        found = self.before if self.after is None else self.after
        if found is None:
            raise ValueError("a difference has a before or an after")
        return found


def key_of(found: O) -> Key:
    """What an object is known by."""
    return found.metadata.namespace, found.metadata.name


def differences(before: Mapping[Key, O], after: Mapping[Key, O]) -> tuple[Difference[O], ...]:
    """What became different, by uid and `resourceVersion`: the gone first, then the others as listed."""
    gone = [Difference(before=one) for key, one in before.items() if key not in after]
    told = [
        Difference(before=before.get(key), after=one)
        for key, one in after.items()
        if not same(before.get(key), one)
    ]
    return (*gone, *told)


def same(one: O | None, other: O) -> bool:
    """Whether two are one object in one state."""
    if one is None:
        return False
    mine, its = one.metadata, other.metadata
    return (mine.uid, mine.resource_version) == (its.uid, its.resource_version)
