"""One object of the Kubernetes API that says where traffic goes, read and set with its `resourceVersion` as the fence.

What the five Kubernetes switches have in common: what may be written when, what an error means, what is read back. The
object refuses a stale write by itself (tier A), and carries the rollback and the epoch that wrote it. What differs
(which field is the switch, which variants there are) stands with each kind. This module must never send a write whose
`resourceVersion` it has not read in the same call, nor send one twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Generic

import msgspec
from pydantic import Field

from watchdog.aio.clock import Clock, SystemClock
from watchdog.cluster.client import Cluster
from watchdog.cluster.differences import Difference
from watchdog.cluster.errors import INVALID, ClusterError, NotSent, Refused
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.gitops import Owners
from watchdog.cluster.kube_events import telling, write
from watchdog.cluster.look import Fresh, Look
from watchdog.cluster.managers import INSTANCE, OURSELVES
from watchdog.cluster.marks import ROLLBACK, epoch_of, marks, paused_of
from watchdog.cluster.objects import Kind, Metadata, O, Object
from watchdog.cluster.rights import Right, changing, granted, reading
from watchdog.cluster.told import Stale, Told
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.happenings import Happening
from watchdog.core.traffic import Change, Tier, TrafficState, VariantState
from watchdog.settings.model import PositiveDuration, ProviderSettings
from watchdog.settings.registry import nearest
from watchdog.traffic import kubernetes_patch
from watchdog.traffic.kubernetes_patch import marked

_UNTOUCHED: Final = "nothing was changed"
#: An object that changes all the time (its status does) is read and written so often, at most.
_TRIES: Final = 3
#: All that the API server says when a JSON patch does not fit the object: a `test` failed, or a path is not there.
_DOES_NOT_FIT: Final = "the server rejected our request due to an error in our request"

#: A name as Kubernetes takes it (RFC 1123).
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
#: A namespace, or the name of a Service (RFC 1123 label).
LabelName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
#: The key of a label: a name, with an optional prefix.
LabelKey = Annotated[
    str,
    Field(pattern=r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"),
]

#: What a write sends: a merge patch, or a JSON patch.
Patch = kubernetes_patch.Patch


class ObjectSettings(ProviderSettings):
    """What the traffic settings of every Kubernetes switch hold."""

    timeout: PositiveDuration = timedelta(seconds=5)
    """Longest time for a read; a change takes at most twice as long."""
    namespace: LabelName
    """Where the object is."""
    version_label: LabelKey = "app.kubernetes.io/version"
    """The label of pods that tells their version; without it the image's digest does, or its tag."""
    argocd_namespace: LabelName = "argocd"
    """Where Argo CD's own applications are; for objects that one of them keeps."""
    argocd_label: LabelKey = INSTANCE
    """The label by which Argo CD knows its objects where it does not do so by annotation."""


class ObjectSwitch(ABC, Generic[O]):
    """A traffic switch on one API object; a subclass says what its fields mean."""

    MODULES: ClassVar = ("kubernetes_asyncio",)
    EXTRA: ClassVar = "kubernetes"
    WANTS: ClassVar = ("cluster", "feeds")
    #: The kind of the switched object.
    kind: ClassVar[Kind[Any]]

    def __init__(
        self,
        settings: ObjectSettings,
        *,
        target: str,
        name: str,
        cluster: Cluster,
        feeds: Feeds | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`target` is the object's name, `name` the service's, for messages; `clock` gives the time of a read.

        Without `feeds` nothing is watched, and a glance is a read.
        """
        self._name = name
        self._target = target
        self._namespace = settings.namespace
        self._cluster = cluster
        self._clock = clock or SystemClock()
        self._timeout = settings.timeout
        self._fresh = Fresh(cluster, timeout=settings.timeout, feeds=feeds)
        self._feeds = feeds
        self._suspending = False
        self._owners = Owners(
            cluster,
            self.kind,
            fields=self.fields,
            timeout=settings.timeout,
            clock=self._clock,
            argocd_namespace=settings.argocd_namespace,
            argocd_label=settings.argocd_label,
        )

    # What a subclass says

    @abstractmethod
    def facts(self, found: O) -> Any:
        """What makes two states of the object different for us (JSON): routes, never status or counters."""

    @abstractmethod
    async def survey(self, found: O, look: Look) -> dict[str, VariantState]:
        """Every variant with weight, version and ready capacity.

        Raises `ClusterError`, and `SwitchUnreachable` in words when the object is none that this switch can read.
        """

    @abstractmethod
    def patch(self, found: O, change: Change) -> Patch:
        """What makes `change.target` the only live one, and nothing else.

        Annotations and `resourceVersion` are added by the caller. Raises `SwitchRejected` when the object has no place
        for the target.
        """

    def concerns(self, found: Object) -> bool:
        """Whether a change of this object, one of `watched` but not the switched kind, may change what `survey` says.

        Asked for every change in the namespace, so it must be quick; when in doubt it does.
        """
        return True

    def fields(self) -> tuple[str, ...]:
        """JSON pointers to what `patch` writes: who ignores all of them undoes nothing."""
        return ("/spec",)

    @abstractmethod
    def watched(self) -> tuple[Kind[Any], ...]:
        """The kinds of objects in the namespace that `survey` looks at, and the switched one's own."""

    # The contract

    @property
    def tier(self) -> Tier:
        return Tier.A

    @property
    def identity(self) -> str:
        return f"kubernetes:{self._namespace}:{self.kind.plural}:{self._target}"

    async def read(self) -> TrafficState:
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                return (await self._seen())[1]
        except TimeoutError:
            raise SwitchUnreachable(f"{self.where}: no answer in time") from None
        except ClusterError as error:
            raise SwitchUnreachable(f"{self.where}: {error}") from error

    async def apply(self, change: Change) -> TrafficState:
        # Reading may take the first half of the time, and whatever comes after the write the second.
        loop = asyncio.get_running_loop()
        half = loop.time() + self._timeout.total_seconds()
        for left in reversed(range(_TRIES)):
            found, state = await self._before(half)
            if _reached(state, change):
                return state
            self._check(found, state, change)
            notes = marks(change, now=self._clock.now())
            body = marked(found.metadata, self.patch(found, change), notes)
            if change.suspend:
                await self._owners.suspend_before(found.metadata, change.mark, self.where, until=half)
            try:
                await self._write(body)
            except (SwitchRejected, SwitchUnreachable, SwitchUnknown) as error:
                if not change.suspend:
                    raise
                hint = f"what keeps it may be suspended: watchdog gitops resume {self._name}"
                raise type(error)(f"{error}; {hint}") from error
            except SwitchConflict:
                # Certainly not done. Its status may have changed, which says nothing: what counts is read again.
                if not left or loop.time() >= half:
                    raise
                continue
            return await self._read_back(half + self._timeout.total_seconds())
        raise AssertionError("unreachable: the last try returns or raises")

    async def watch(self, changed: Callable[[], None]) -> None:
        feeds = self._feeds
        if feeds is None:
            return

        def told(differences: tuple[Difference[Any], ...]) -> None:
            # Before and after: what takes a pod's labels away takes the pod away.
            sides = (side for one in differences for side in (one.before, one.after) if side is not None)
            if any(self._concerned(side) for side in sides):
                changed()

        wanted = [feeds.feed(kind, self._namespace) for kind in self.watched()]
        await feeds.follow(*wanted, changed=told)

    async def glance(self) -> TrafficState:
        if self._feeds is None:
            return await self.read()
        try:
            return (await self._seen(Told(self._feeds)))[1]
        except Stale:
            return await self.read()
        except ClusterError as error:
            raise SwitchUnreachable(f"{self.where}: {error}") from error

    async def inspect(self) -> str | None:
        """Whether we may write the object, and what would have to be suspended: reading does not tell."""
        wanted = [changing(self.kind, self._namespace, self._target)]
        wanted += self._owners.rights(suspend=True) if self._suspending else ()
        try:
            asked = [granted(self._cluster, right, timeout=self._timeout) for right in wanted]
            may = dict(zip(wanted, await asyncio.gather(*asked), strict=True))
        except ClusterError as error:
            return f"{self.where}: whether it may be changed cannot be asked: {error}"
        lacking = [str(right) for right in wanted if not may[right]]
        return f"{self.where}: the right is missing to {', and to '.join(lacking)}" if lacking else None

    @property
    def rights(self) -> Sequence[Right]:
        """What it needs in the cluster: to look at what it is made of, and to change the one object."""
        found = [right for kind in self.watched() for right in reading(kind, self._namespace)]
        own = changing(self.kind, self._namespace, self._target)
        return (*found, own, telling(self._namespace), *self._owners.rights(suspend=self._suspending))

    def expect_to_suspend(self) -> None:
        self._suspending = True

    async def resume(self, mark: str) -> str:
        async with self._owners.in_words(self.where, within=2 * self._timeout):
            return await self._owners.resume((await self._one(self._fresh)).metadata, rollback=mark)

    async def announce(self, happening: Happening) -> None:
        try:
            found = await self._one(self._fresh)
            await write(self._cluster, happening, self.kind, found.metadata, timeout=self._timeout)
        except Refused as error:
            trouble = SwitchUnreachable if error.uncertain else SwitchRejected
            raise trouble(f"{self.where}: {error}") from error
        except ClusterError as error:
            raise SwitchUnreachable(f"{self.where}: {error}") from error

    async def aclose(self) -> None:
        """Nothing to close: the connection belongs to all."""

    @property
    def where(self) -> str:
        """The object, for messages."""
        return f"{self.kind.name} {self._namespace}/{self._target}"

    # Its parts

    def _concerned(self, found: Object) -> bool:
        if not isinstance(found, self.kind.shape):
            return self.concerns(found)
        return bool(found.name == self._target)

    async def _one(self, look: Look) -> O:
        found: O = await look.one(self.kind, self._namespace, self._target)
        return found

    async def _before(self, until: float) -> tuple[O, TrafficState]:
        try:
            async with asyncio.timeout_at(until):
                return await self._seen()
        except TimeoutError:
            raise SwitchUnreachable(f"{self.where}: no answer in time; {_UNTOUCHED}") from None
        except ClusterError as error:
            raise SwitchUnreachable(f"{self.where}: {error}; {_UNTOUCHED}") from error

    async def _seen(self, look: Look | None = None) -> tuple[O, TrafficState]:
        """The object and what it comes to, by the API server unless another look is given."""
        look, read_at = look or self._fresh, self._clock.now()
        found = await self._one(look)
        metadata: Metadata = found.metadata
        variants = await self.survey(found, look)
        managed = await self._owners.look(metadata, fresh=look is self._fresh)
        state = TrafficState(
            variants=variants,
            revision=self._revision(found),
            read_at=read_at,
            managed_by=managed.managed_by,
            mark=metadata.annotations.get(ROLLBACK),
            paused=paused_of(metadata.annotations),
            suspended=managed.suspended,
            noted=managed.noted,
            written_by=managed.written_by,
        )
        return found, state

    def _revision(self, found: O) -> str:
        """Of the object by its identity and its routes: what only moves its status leaves the revision alone."""
        text = msgspec.json.encode([found.metadata.uid, self.facts(found)], order="sorted")
        return hashlib.sha256(text).hexdigest()[:16]

    def _check(self, found: O, state: TrafficState, change: Change) -> None:
        for variant in (change.target, *change.away):
            if variant not in state.variants:
                guess = nearest(variant, state.variants)
                hint = f"; did you mean {guess!r}?" if guess else ""
                raise SwitchRejected(f"{self.where} has no variant {variant!r}{hint}; {_UNTOUCHED}")
        if change.target in change.away:
            raise SwitchRejected(f"{self.where}: {change.target!r} is both target and away; {_UNTOUCHED}")
        if state.revision != change.expect:
            raise SwitchConflict(
                f"{self.where} is at revision {state.revision}, not {change.expect}; {_UNTOUCHED}"
            )
        if state.paused:
            raise SwitchConflict(f"{self.where} is paused ({state.paused}); {_UNTOUCHED}")
        epoch = epoch_of(found.metadata.annotations)
        if epoch > change.epoch:
            raise SwitchRejected(
                f"{self.where} was last written by a newer watchdog (epoch {epoch}, ours is {change.epoch}); "
                + _UNTOUCHED
            )

    async def _write(self, body: Patch) -> None:
        path = self.kind.path(self._namespace, self._target)
        try:
            await self._cluster.patch(path, body, query={"fieldManager": OURSELVES}, timeout=self._timeout)
        except NotSent as error:
            raise SwitchUnreachable(f"{self.where}: {error}; {_UNTOUCHED}") from error
        except Refused as error:
            raise self._refused(error) from error
        except ClusterError as error:
            raise SwitchUnknown(f"{self.where}: {error}") from error

    def _refused(self, error: Refused) -> Exception:
        if error.uncertain:
            return SwitchUnknown(f"{self.where}: {error}")
        if error.missing or error.status == 401:
            # Gone, or credentials that are renewed right now: another try may find it otherwise.
            return SwitchUnreachable(f"{self.where}: {error}; {_UNTOUCHED}")
        if error.conflict or (error.status == INVALID and _DOES_NOT_FIT in str(error)):
            return SwitchConflict(f"{self.where} was changed meanwhile: {error}; {_UNTOUCHED}")
        return SwitchRejected(f"{self.where}: {error}; {_UNTOUCHED}")

    async def _read_back(self, until: float) -> TrafficState:
        """What is there after the write, from the API server: a controller may have undone it already."""
        try:
            async with asyncio.timeout_at(until):
                return (await self._seen())[1]
        except TimeoutError:
            raise SwitchUnknown(f"{self.where}: written, but not read back in time") from None
        except (ClusterError, SwitchUnreachable) as error:
            raise SwitchUnknown(f"{self.where}: written, but not read back: {error}") from error


def _reached(state: TrafficState, change: Change) -> bool:
    """Whether the end state is there already."""
    known = state.variants.get(change.target)
    return (
        known is not None
        and known.live
        and all(not state.variants[name].live for name in change.away if name in state.variants)
    )
