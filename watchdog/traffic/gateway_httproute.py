"""Traffic moved by a rule of a Gateway API HTTPRoute: the weights of its backendRefs.

Weights are set, references are neither added nor taken away. This module must never touch another rule of the route,
nor anything of a backendRef but its weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Final

from msgspec.structs import replace
from pydantic import Field

from watchdog.aio.clock import Clock
from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import Refused
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.look import Look
from watchdog.cluster.objects import (
    ENDPOINT_SLICES,
    PODS,
    SERVICES,
    Condition,
    Kind,
    Object,
    Shape,
)
from watchdog.core.errors import SwitchRejected, SwitchUnreachable
from watchdog.core.traffic import Change, VariantState
from watchdog.traffic.kubernetes_backends import backend_of
from watchdog.traffic.kubernetes_object import ObjectName, ObjectSettings, ObjectSwitch, Patch

#: The API's own bound of a weight.
_HEAVIEST: Final = 1_000_000


class BackendRef(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of `backendRefs`: a Service, or something else that an implementation knows."""

    name: str = ""
    group: str | None = None
    kind: str | None = None
    namespace: str | None = None
    port: int | None = None
    weight: int | None = None

    @property
    def share(self) -> int:
        """Its weight; 1 when it has none."""
        return 1 if self.weight is None else max(self.weight, 0)

    @property
    def is_service(self) -> bool:
        """Whether it names a Service."""
        return not self.group and self.kind in {None, "Service"}

    def variant(self, home: str) -> str:
        """`NAME`, `NAMESPACE/NAME` when it is elsewhere than the route, `KIND.GROUP:…` when it is no Service."""
        name = self.name if self.namespace in {None, "", home} else f"{self.namespace}/{self.name}"
        if self.is_service:
            return name
        return f"{self.kind}.{self.group}:{name}" if self.group else f"{self.kind}:{name}"


class Mirror(Shape, frozen=True, kw_only=True, rename="camel"):
    """`requestMirror` of a filter."""

    backend_ref: BackendRef = BackendRef()


class Filter(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of `filters`."""

    request_mirror: Mirror | None = None


class Rule(Shape, frozen=True, kw_only=True, rename="camel"):
    """A rule of a route."""

    name: str | None = None
    matches: tuple[dict[str, Any], ...] | None = None
    filters: tuple[Filter, ...] | None = None
    backend_refs: tuple[BackendRef, ...] | None = None

    @property
    def refs(self) -> tuple[BackendRef, ...]:
        """Its backendRefs; a redirect has none."""
        return self.backend_refs or ()

    def shares(self, home: str) -> dict[str, int]:
        """The weight of every variant."""
        found: dict[str, int] = {}
        for one in self.refs:
            found[one.variant(home)] = found.get(one.variant(home), 0) + one.share
        return found


class Spec(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec` of an HTTPRoute."""

    rules: tuple[Rule, ...] | None = None


class Parent(Shape, frozen=True, kw_only=True, rename="camel"):
    """What one Gateway says of the route."""

    conditions: tuple[Condition, ...] = ()


class Status(Shape, frozen=True, kw_only=True, rename="camel"):
    """`status` of an HTTPRoute."""

    parents: tuple[Parent, ...] = ()


class HTTPRoute(Object, frozen=True, kw_only=True, rename="camel"):
    """An HTTPRoute."""

    spec: Spec = Spec()
    status: Status = Status()

    @property
    def not_permitted(self) -> str:
        """Why a Gateway refuses a backend in another namespace; empty when none does."""
        conditions = [one for parent in self.status.parents for one in parent.conditions]
        refused = [
            one.message or one.reason
            for one in conditions
            if (one.type, one.status, one.reason) == ("ResolvedRefs", "False", "RefNotPermitted")
        ]
        return refused[0] if refused else ""


HTTP_ROUTES: Final[Kind[HTTPRoute]] = Kind(
    group="gateway.networking.k8s.io",
    version="v1",
    plural="httproutes",
    name="HTTPRoute",
    shape=HTTPRoute,
)


class GatewayHTTPRouteSettings(ObjectSettings):
    """`traffic: {kind: gateway-httproute, …}` of a service."""

    route: ObjectName
    """Name of the HTTPRoute (`gateway.networking.k8s.io/v1`)."""
    rule: Annotated[int, Field(ge=0, le=15, strict=True)] | ObjectName = 0
    """The rule whose backendRefs are the variants: its place, counted from 0, or its `name`."""


class GatewayHTTPRouteSwitch(ObjectSwitch[HTTPRoute]):
    """Moves the requests of one rule between its backendRefs."""

    Settings = GatewayHTTPRouteSettings
    kind: ClassVar[Kind[Any]] = HTTP_ROUTES

    def __init__(
        self,
        settings: GatewayHTTPRouteSettings,
        *,
        name: str,
        cluster: Cluster,
        feeds: Feeds | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            settings, target=settings.route, name=name, cluster=cluster, feeds=feeds, clock=clock
        )
        self._label = settings.version_label
        self._rule = settings.rule
        self._fields: tuple[str, ...] = ("/spec",)

    @property
    def identity(self) -> str:
        """With the rule: one HTTPRoute may serve several services, each by a rule of its own."""
        return f"{super().identity}:{self._rule}"

    def watched(self) -> tuple[Kind[Any], ...]:
        return HTTP_ROUTES, SERVICES, PODS, ENDPOINT_SLICES

    def fields(self) -> tuple[str, ...]:
        """As of the last read; before one, everything."""
        return self._fields

    def facts(self, found: HTTPRoute) -> Any:
        _, rule = self._chosen(found)
        return [rule.name, rule.matches, [[one.variant(self._namespace), one.share] for one in rule.refs]]

    async def survey(self, found: HTTPRoute, look: Look) -> dict[str, VariantState]:
        index, rule = self._chosen(found)
        self._fields = tuple(f"/spec/rules/{index}/backendRefs/{i}/weight" for i in range(len(rule.refs)))
        notes = dict(self._notes(found, index))
        variants: dict[str, VariantState] = {}
        for name, weight in rule.shares(self._namespace).items():
            ref = next(one for one in rule.refs if one.variant(self._namespace) == name)
            state = await self._state(ref, weight, look)
            if ref.namespace not in {None, "", self._namespace} and found.not_permitted:
                told = f"readiness unknown: a Gateway refuses it: {found.not_permitted}"
                state = replace(state, ready=None, note=told)
            note = "; ".join(filter(None, (notes.get(name), state.note)))
            variants[name] = replace(state, note=note)
        return variants

    def patch(self, found: HTTPRoute, change: Change) -> Patch:
        index, rule = self._chosen(found)
        home = self._namespace
        target = [i for i, one in enumerate(rule.refs) if one.variant(home) == change.target]
        if not target or not rule.refs[target[0]].is_service:
            raise SwitchRejected(
                f"{self.where}: {change.target} is no Service in the backendRefs of {self._named(index, rule)}; "
                "weights are set, references are not added; nothing was changed"
            )
        weights = [one.share if i in target else 0 for i, one in enumerate(rule.refs)]
        stays = max(target, key=lambda index: (weights[index], -index))
        weights[stays] += sum(one.share for i, one in enumerate(rule.refs) if i not in target)
        weights[stays] = min(max(weights[stays], 1), _HEAVIEST)
        return list(_written(index, rule, weights))

    # Its parts

    def _chosen(self, found: HTTPRoute) -> tuple[int, Rule]:
        """The rule of the settings. Raises `SwitchUnreachable` in words when there is none, or it leads nowhere."""
        rules = found.spec.rules or ()
        for index, rule in enumerate(rules):
            if self._rule in (index, rule.name):
                if not rule.refs:
                    raise SwitchUnreachable(
                        f"{self.where}: {self._named(index, rule)} has no backendRefs; {self._listed(rules)}"
                    )
                return index, rule
        raise SwitchUnreachable(f"{self.where} has no rule {self._rule}; {self._listed(rules)}")

    def _listed(self, rules: Sequence[Rule]) -> str:
        told = [
            f"{self._named(index, rule)} to {', '.join(rule.shares(self._namespace))}"
            for index, rule in enumerate(rules)
            if rule.refs
        ]
        return f"there are: {'; '.join(told)}" if told else "no rule has any"

    @staticmethod
    def _named(index: int, rule: Rule) -> str:
        return f"rule {index} ({rule.name})" if rule.name else f"rule {index}"

    def _notes(self, found: HTTPRoute, chosen: int) -> Iterator[tuple[str, str]]:
        """What leads to a variant besides its weight in the rule."""
        rules = list(enumerate(found.spec.rules or ()))
        home = self._namespace
        for name in rules[chosen][1].shares(home):
            others = [self._named(i, one) for i, one in rules if i != chosen and one.shares(home).get(name)]
            copies = [
                self._named(i, rule)
                for i, rule in rules
                for one in rule.filters or ()
                if one.request_mirror and one.request_mirror.backend_ref.variant(home) == name
            ]
            told = [f"{', '.join(others)} of the same route sends requests there, too, and is left alone"]
            told = told if others else []
            if copies:
                told.append(f"copies of requests ({', '.join(copies)}) go there and are left alone")
            yield name, "; ".join(told)

    async def _state(self, ref: BackendRef, weight: int, look: Look) -> VariantState:
        if not ref.is_service:
            note = f"readiness unknown: it is no Service but a {ref.kind}, which is never switched to"
            return VariantState(weight=weight, note=note)
        namespace = ref.namespace or self._namespace
        try:
            service = await look.one(SERVICES, namespace, ref.name)
            port = next((one for one in service.spec.ports if one.port == ref.port), None)
            return await backend_of(look, service, weight=weight, label=self._label, port=port)
        except Refused as error:
            if error.uncertain:
                raise
            if error.missing:
                return VariantState(
                    weight=weight, ready=0, total=0, note=f"there is no Service {namespace}/{ref.name}"
                )
            return VariantState(weight=weight, note=f"readiness unknown: it cannot be looked at: {error}")


def _written(index: int, rule: Rule, weights: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What changes the weights, each tested first."""
    for number, (old, weight) in enumerate(zip(rule.refs, weights, strict=True)):
        if old.share == weight:
            continue
        path = f"/spec/rules/{index}/backendRefs/{number}"
        yield {"op": "test", "path": f"{path}/name", "value": old.name}
        if old.weight is not None:
            yield {"op": "test", "path": f"{path}/weight", "value": old.weight}
        yield {"op": "add", "path": f"{path}/weight", "value": weight}
