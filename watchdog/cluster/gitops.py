"""Whether Argo CD or Flux would undo a switch, and how they are kept from it for a while.

An object says of itself whom it comes from (`watchdog.cluster.managers`); only for such a one is anything asked. What
cannot be found out is "it would": nothing is switched on a guess. What was suspended carries what it was before, so
that a resume restores exactly that, whoever asks for it and whenever. This module must never suspend anything but what
claims the very object, nor forget what stood there first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec

from watchdog.aio.clock import Clock
from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import ClusterError, NotSent, Refused, Unanswered
from watchdog.cluster.look import Fresh
from watchdog.cluster.managers import INSTANCE, OURSELVES, Claim, claims, notes, wrote_last
from watchdog.cluster.marks import SUSPENDED
from watchdog.cluster.objects import Kind, Metadata
from watchdog.cluster.owners import KINDS, Keeper, Keeping, keeping
from watchdog.cluster.rights import Right, changing
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Suspension

#: An owner changes all the time (its status does): read and written so often, at most.
_TRIES: Final = 5
#: A glance believes what was seen of an owner for so many seconds; whatever decides reads it anew.
_SEEN_FOR: Final = 60.0


_UNTOUCHED: Final = "nothing was changed in traffic"


class NotSuspended(ClusterError):
    """It is certain that an owner was not suspended, or not resumed, and why."""


class Overtaken(ClusterError):
    """What is suspended is not what was asked to be resumed."""


class Managed(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an object's owners, as `TrafficState` has it."""

    managed_by: str | None = None
    suspended: Suspension | None = None
    noted: tuple[str, ...] = ()
    written_by: str = ""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """The annotation on what we suspended: by which rollback, and the fields as they were (`None`: absent)."""

    rollback: str
    was: Any = None


class Owners:
    """Looks at the owners of one switched object, suspends and resumes them. Asks nothing where there are none."""

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind[Any],
        *,
        fields: Callable[[], Sequence[str]],
        timeout: timedelta,
        clock: Clock,
        argocd_namespace: str = "argocd",
        argocd_label: str = INSTANCE,
    ) -> None:
        """`fields` answers JSON pointers to what a switch writes: an owner that ignores them all undoes nothing."""
        self._cluster = cluster
        self._kind = kind
        self._fields = fields
        self._timeout = timeout
        self._clock = clock
        self._argocd_namespace = argocd_namespace
        self._argocd_label = argocd_label
        self._fresh = Fresh(cluster, timeout=timeout)
        self._seen: dict[Claim, tuple[float, Keeping | str]] = {}

    async def look(self, metadata: Metadata, *, fresh: bool) -> Managed:
        """Who would undo a switch of this object. Not `fresh`: as seen lately. Never raises for the outside."""
        found = self._claims(metadata)
        if not found:
            self._seen.clear()
            return Managed(noted=notes(metadata), written_by=wrote_last(metadata))
        answers = [(claim, await self._known(claim, metadata, fresh=fresh)) for claim in found]
        self._seen = {claim: self._seen[claim] for claim in found if claim in self._seen}
        return Managed(
            managed_by=" and ".join(filter(None, (_manages(*answer) for answer in answers))) or None,
            suspended=next(filter(None, (_suspended(*answer) for answer in answers)), None),
            noted=(*filter(None, (_noted(*answer) for answer in answers)), *notes(metadata, found)),
            written_by=wrote_last(metadata),
        )

    async def suspend(self, metadata: Metadata, *, rollback: str) -> None:
        """Keep every owner of this object from writing it, and note on it what it was.

        Idempotent: what is suspended already keeps the note of what stood there first, and gets this rollback's name,
        so that nobody resumes it for an earlier one. Raises `NotSuspended` when that is certain, else another
        `ClusterError`; then read again.
        """
        for claim in self._claims(metadata):
            await self._try(claim, metadata, partial(_suspending, claim, rollback))

    async def resume(self, metadata: Metadata, *, rollback: str) -> str:
        """Restore what `rollback` suspended; answers what that was. Errors as for `suspend`, and `Overtaken`."""
        found = self._claims(metadata)
        resumed = [
            str(claim)
            for claim in found
            if await self._try(claim, metadata, partial(_resuming, claim, rollback))
        ]
        if not resumed:
            raise NotSuspended("nothing is suspended by the watchdog any more")
        return " and ".join(resumed)

    async def suspend_before(self, metadata: Metadata, rollback: str, where: str, *, until: float) -> None:
        """`suspend` right before a switch is written, until then (the loop's time); its errors as the switch's own.

        Raises `SwitchRejected` when that is certain, `SwitchUnreachable` else: nothing was switched.
        """
        try:
            async with asyncio.timeout_at(until):
                await self.suspend(metadata, rollback=rollback)
        except TimeoutError:
            raise SwitchUnreachable(f"{where}: no time left to suspend its owner; {_UNTOUCHED}") from None
        except NotSuspended as error:
            raise SwitchRejected(f"{where}: cannot suspend {error}; {_UNTOUCHED}") from error
        except ClusterError as error:
            what = f"unknown whether its owner is suspended: {error}"
            raise SwitchUnreachable(f"{where}: {what}; {_UNTOUCHED}") from error

    @asynccontextmanager
    async def in_words(self, where: str, *, within: timedelta) -> AsyncIterator[None]:
        """The errors of a `resume` inside the block as those of the switch, whose promise it is."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                yield
        except TimeoutError:
            raise SwitchUnknown(f"{where}: no answer in time") from None
        except Overtaken as error:
            raise SwitchConflict(str(error)) from error
        except NotSuspended as error:
            raise SwitchRejected(str(error)) from error
        except (NotSent, Refused) as error:
            raise SwitchUnreachable(f"{where}: {error}; nothing was resumed") from error
        except ClusterError as error:
            raise SwitchUnknown(f"{where}: {error}") from error

    def rights(self, *, suspend: bool) -> tuple[Right, ...]:
        """What it needs for the owners seen so far; with `suspend`, to suspend and resume them, too."""
        found = []
        for claim in self._seen:
            kind = KINDS[claim.tool]
            found.append(changing(kind, claim.namespace, claim.name, verb="get"))
            if suspend:
                found.append(changing(kind, claim.namespace, claim.name))
        return tuple(found)

    def _claims(self, metadata: Metadata) -> tuple[Claim, ...]:
        return claims(
            metadata,
            self._kind,
            argocd_namespace=self._argocd_namespace,
            argocd_label=self._argocd_label,
        )

    async def _known(self, claim: Claim, metadata: Metadata, *, fresh: bool) -> Keeping | str:
        """What an owner is like, or why nobody can tell."""
        now = self._clock.monotonic()
        seen = self._seen.get(claim)
        if seen is not None and not fresh and now - seen[0] < _SEEN_FOR:
            return seen[1]
        answer: Keeping | str
        try:
            answer = self._keeping(claim, await self._read(claim), metadata)
        except Refused as error:
            answer = str(error)
            if error.uncertain:
                return answer
        except ClusterError as error:
            return str(error)  # a moment later it may be known again
        self._seen[claim] = now, answer
        return answer

    async def _read(self, claim: Claim) -> Keeper:
        return await self._fresh.one(KINDS[claim.tool], claim.namespace, claim.name)

    def _keeping(self, claim: Claim, owner: Keeper, metadata: Metadata) -> Keeping:
        parents = claims(owner.metadata, KINDS[claim.tool], argocd_namespace=claim.namespace)
        return keeping(owner, metadata, self._kind, self._fields(), parents=parents)

    async def _try(
        self, claim: Claim, metadata: Metadata, change: Callable[[Keeping], dict[str, Any] | None]
    ) -> bool:
        """Read an owner and write what `change` makes of it, anew while it moves; whether anything was to write."""
        self._seen.pop(claim, None)
        for left in reversed(range(_TRIES)):
            try:
                body = change(self._keeping(claim, await self._read(claim), metadata))
                if body is None:
                    return False
                await self._cluster.patch(
                    KINDS[claim.tool].path(claim.namespace, claim.name),
                    body,
                    query={"fieldManager": OURSELVES},
                    timeout=self._timeout,
                )
            except Refused as error:
                if error.conflict and left:
                    continue
                if error.uncertain:
                    raise Unanswered(f"{claim}: {error}") from error
                raise NotSuspended(f"{claim}: {error}") from error
            else:
                return True
        raise AssertionError("unreachable: the last try returns or raises")


def _manages(claim: Claim, answer: Keeping | str) -> str | None:
    if isinstance(answer, str):
        return f"{claim} (whether it would is unknown: {answer})"
    return f"{claim} ({answer.reverts})" if answer.reverts else None


def _noted(claim: Claim, answer: Keeping | str) -> str | None:
    return f"{claim} {answer.writes}" if isinstance(answer, Keeping) and answer.writes else None


def _suspended(claim: Claim, answer: Keeping | str) -> Suspension | None:
    """Ours only while it is off, and it was us: who turned it on again by hand needs no resume."""
    if isinstance(answer, str) or answer.on:
        return None
    note = _note_of(answer)
    if note is None:
        return None
    again = f", which {answer.parent} may turn on again" if answer.parent else ""
    return Suspension(owner=f"{claim}{again}", rollback=note.rollback)


def _note_of(owner: Keeping) -> Note | None:
    text = owner.metadata.annotations.get(SUSPENDED)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Note)
    except msgspec.MsgspecError:
        return None


def _suspending(claim: Claim, rollback: str, owner: Keeping) -> dict[str, Any] | None:
    """The patch that suspends it; `None` when there is nothing to do."""
    if owner.metadata.annotations.get(SUSPENDED) is not None and not owner.on:
        note = _note_of(owner)
        if note is None:
            raise NotSuspended(
                f"{claim}: its annotation {SUSPENDED} cannot be read, so nobody knows what it was before; "
                "restore it and remove the annotation"
            )
        if note.rollback == rollback:
            return None
        return _patch(owner, Note(rollback=rollback, was=note.was), None)
    if not owner.on or not (owner.reverts or owner.writes):
        return None  # turned off by a person, who will turn it on again himself; or it ignores what we write
    return _patch(owner, Note(rollback=rollback, was=owner.current), owner.off)


def _resuming(claim: Claim, rollback: str, owner: Keeping) -> dict[str, Any] | None:
    note = _note_of(owner)
    if note is None:
        if owner.metadata.annotations.get(SUSPENDED) is not None:
            raise NotSuspended(f"{claim}: its annotation {SUSPENDED} cannot be read; restore it by hand")
        return None
    if owner.on:
        return _patch(owner, None, None)  # somebody did it by hand, and left our note
    if note.rollback != rollback:
        raise Overtaken(f"{claim} was suspended by {note.rollback} meanwhile, not by {rollback}")
    return _patch(owner, None, owner.restored(note.was))


def _patch(owner: Keeping, note: Note | None, spec: dict[str, Any] | None) -> dict[str, Any]:
    text = None if note is None else msgspec.json.encode(note).decode()
    metadata = {"resourceVersion": owner.metadata.resource_version, "annotations": {SUSPENDED: text}}
    return {"metadata": metadata} if spec is None else {"metadata": metadata, "spec": spec}
