"""The probe `kubernetes`: what the cluster itself says of a service's pods, before users notice anything.

Dead are pods that crash again and again, whose image cannot be had, whose containers cannot be started or were killed
for their memory, and a Deployment whose newest template did not come up in time. Only the cluster's word counts: when
the API server cannot be asked, or nothing is selected, nothing is known (`Failed`). This module must never take a
missing answer, or an empty one, for a dead target.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationError, model_validator

from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import ClusterError, Refused
from watchdog.cluster.look import Fresh
from watchdog.cluster.objects import DEPLOYMENTS, PODS, Deployment, Kind, Pod
from watchdog.cluster.pods import (
    VERSION_LABEL,
    deployment_of,
    serving,
    version_of_pod,
    version_of_template,
)
from watchdog.cluster.rights import Right
from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.core.units import parse_percentage
from watchdog.probes.expectations import unusable
from watchdog.probes.kubernetes_trouble import Group, Trouble, groups, is_stuck
from watchdog.settings.model import PositiveDuration, ProviderSettings

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
#: Longest text of what is wrong that is told.
_TOLD = 200


def _namespace(text: str) -> str:
    if "$" not in text and not _NAMESPACE.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a namespace")
    return text


def _object(text: str) -> str:
    if "$" not in text and not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a Deployment")
    return text


def _key(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise ValueError(f"{text!r} is not the key of a label")
    return text


def read_selector(text: str) -> dict[str, str]:
    """The labels in `KEY=VALUE,KEY=VALUE`. Raises `ValueError` in words."""
    labels: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (word.strip() for word in part.replace("==", "=").partition("="))
        if not equals or not _KEY.fullmatch(key):
            raise ValueError(f"{part.strip()!r} is no condition on a label; write KEY=VALUE,KEY=VALUE")
        if "$" not in value and not _VALUE.fullmatch(value):
            raise ValueError(f"{value!r} cannot be the value of a label; `version` takes every version")
        if key in labels:
            raise ValueError(f"the label {key!r} stands in {text!r} twice")
        labels[key] = value
    return labels


def _selector(text: str) -> str:
    read_selector(text)
    return text


def _distinct(when: tuple[Trouble, ...]) -> tuple[Trouble, ...]:
    if not when:
        raise ValueError("an empty list would never fail")
    return tuple(dict.fromkeys(when))


def _share(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError(f"expected a percentage such as 50%, found {value}")
    share = parse_percentage(value)
    if not 0 < share <= 1:
        raise ValueError(f"{value!r} must be above 0% and at most 100%")
    return share


_Percentage = Annotated[str, Field(pattern=r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$")]
_Share = Annotated[
    float,
    BeforeValidator(_share, json_schema_input_type=_Percentage),
    PlainSerializer(lambda share: f"{share * 100:g}%", return_type=str, when_used="json"),
]


class KubernetesProbeSettings(ProviderSettings):
    """Settings of the probe `kubernetes`; texts but `version_label` may hold variables."""

    timeout: PositiveDuration = timedelta(seconds=5)
    """Longest time for the whole check; an API server that takes longer says nothing of the target."""
    namespace: Annotated[str, AfterValidator(_namespace)]
    """Where the pods are."""
    selector: Annotated[str, AfterValidator(_selector)] | None = None
    """Labels of the pods, `KEY=VALUE,KEY=VALUE`; this, `deployment` or both are required."""
    deployment: Annotated[str, AfterValidator(_object)] | None = None
    """Name of the Deployment that the pods belong to."""
    version: str | None = None
    """Only pods that say they are this version, such as `$version`."""
    version_label: Annotated[str, AfterValidator(_key)] = VERSION_LABEL
    """The label by which pods say that; without it the image's tag does, or its digest."""
    when: Annotated[tuple[Trouble, ...], AfterValidator(_distinct)] = tuple(Trouble)
    """What counts as dead."""
    share: _Share = 0.5
    """Dead is at least this share of the pods of one revision."""
    within: PositiveDuration = timedelta(minutes=10)
    """How long a container that was killed for its memory, or crashed in a loop, is held against its pod."""

    @model_validator(mode="after")
    def _something(self) -> KubernetesProbeSettings:
        if self.selector is None and self.deployment is None:
            raise ValueError("write `selector: KEY=VALUE` or `deployment: NAME`")
        return self


class KubernetesProbe:
    """Looks at the pods of any number of services (see the module). Every check asks the API server anew."""

    Settings: ClassVar = KubernetesProbeSettings
    WANTS: ClassVar = ("cluster",)

    def __init__(self, *, cluster: Cluster) -> None:
        """Opens nothing; the connection belongs to all."""
        self._cluster = cluster
        self._closed = False

    @staticmethod
    def rights_for(settings: KubernetesProbeSettings) -> Sequence[Right]:
        """What checks with these settings need. None where the namespace is a variable."""
        if "$" in settings.namespace:
            return ()
        kinds: list[tuple[str, Kind[Any]]] = [("list", PODS)]
        if settings.deployment is not None or Trouble.STUCK in settings.when:
            kinds.append(("get", DEPLOYMENTS))
        name = settings.deployment if settings.deployment and "$" not in settings.deployment else ""
        return tuple(
            Right(
                verb=verb,
                group=kind.group,
                resource=kind.plural,
                namespace=settings.namespace,
                name=name if verb == "get" else "",
            )
            for verb, kind in kinds
        )

    async def check(self, settings: dict[str, Any], *, now: datetime) -> Pulse | Failed:
        try:
            wanted = KubernetesProbeSettings.model_validate(settings)
            labels = read_selector(wanted.selector) if wanted.selector is not None else {}
            _refuse_rest(wanted, labels)
        except ValidationError as error:
            return Failed(reason=FailReason.UNABLE, detail=unusable(error))
        except ValueError as error:
            return Failed(reason=FailReason.UNABLE, detail=f"cannot be asked: {error}")
        asked = _described(wanted)
        if self._closed:
            return Failed(reason=FailReason.UNABLE, detail="the probe was closed", asked=asked)
        try:
            async with asyncio.timeout(wanted.timeout.total_seconds()):
                seen = await self._look(wanted, labels)
        except TimeoutError:
            detail = f"the API server did not answer within {wanted.timeout.total_seconds():g} s"
            return Failed(reason=FailReason.UNABLE, detail=detail, asked=asked)
        except ClusterError as error:
            return Failed(reason=FailReason.UNABLE, detail=_unable(error, wanted), asked=asked)
        pods, deployments = seen
        verdict = _judged(wanted, labels, pods, deployments, now)
        if verdict is None:
            detail = "no pods are selected: nothing is known of them"
            return Failed(reason=FailReason.UNABLE, detail=detail, asked=asked)
        passed, detail = verdict
        return Pulse(passed=passed, at=now, answered=True, detail=detail, asked=asked)

    async def aclose(self) -> None:
        self._closed = True

    async def _look(
        self, wanted: KubernetesProbeSettings, labels: Mapping[str, str]
    ) -> tuple[list[Pod], list[Deployment]]:
        """The pods that count, and the Deployments that they are said to belong to."""
        look = Fresh(self._cluster, timeout=wanted.timeout)
        if wanted.deployment is not None:
            named = await look.one(DEPLOYMENTS, wanted.namespace, wanted.deployment)
            chosen = {**named.spec.selector.match_labels, **labels}
            pods = await look.all(PODS, wanted.namespace, labels=chosen)
            mine = [pod for pod in pods if deployment_of(pod) == wanted.deployment]
            return _of_version(mine, wanted), [named]
        mine = _of_version(await look.all(PODS, wanted.namespace, labels=labels), wanted)
        owners = sorted({name for pod in mine if (name := deployment_of(pod)) is not None})
        deployments: list[Deployment] = []
        for name in owners if Trouble.STUCK in wanted.when else ():
            try:
                deployments.append(await look.one(DEPLOYMENTS, wanted.namespace, name))
            except Refused as error:
                if not error.missing:  # pods outlive what made them for a moment
                    raise
        return mine, deployments


def _refuse_rest(wanted: KubernetesProbeSettings, labels: Mapping[str, str]) -> None:
    """A dollar sign that is left stands for nothing. Raises `ValueError`."""
    texts = [wanted.namespace, wanted.deployment or "", *labels.values()]
    for text in texts:
        if "$" in text:
            raise ValueError(f"{text!r} is no name")


def _of_version(pods: Sequence[Pod], wanted: KubernetesProbeSettings) -> list[Pod]:
    counted = serving(pods)
    if wanted.version is None:
        return counted
    return [pod for pod in counted if version_of_pod(pod, wanted.version_label) == wanted.version]


def _judged(
    wanted: KubernetesProbeSettings,
    labels: Mapping[str, str],
    pods: Sequence[Pod],
    deployments: Sequence[Deployment],
    now: datetime,
) -> tuple[bool, str] | None:
    """Whether the target is alive, in words; `None` when there is nothing to judge."""
    if Trouble.STUCK in wanted.when:
        for one in deployments:
            if is_stuck(one) and _is_newest(one, wanted, labels):
                return False, f"Deployment {one.name} is stuck: ProgressDeadlineExceeded"
    if not pods:
        return None
    found = groups(pods, frozenset(wanted.when), now=now, within=wanted.within)
    if found[0].share >= wanted.share:
        return False, _words(found[0])
    bad = sum(len(group.faults) for group in found)
    ready = sum(pod.ready for pod in pods)
    return True, f"{len(pods)} pods, {ready} ready, {bad} in trouble"


def _is_newest(deployment: Deployment, wanted: KubernetesProbeSettings, labels: Mapping[str, str]) -> bool:
    """Whether what is asked about is what the Deployment tries to bring up, and not what it replaces."""
    template = deployment.spec.template
    if wanted.version is not None:
        return version_of_template(template, wanted.version_label) == wanted.version
    metadata = template.get("metadata")
    told = metadata.get("labels") if isinstance(metadata, dict) else None
    return labels.items() <= (told or {}).items()


def _words(group: Group) -> str:
    name, fault = next(iter(sorted(group.faults.items())))
    words = f"{len(group.faults)} of {len(group.pods)} pods are in trouble: {name}: {fault}"
    return words if len(words) <= _TOLD else f"{words[: _TOLD - 1]}…"


def _unable(error: ClusterError, wanted: KubernetesProbeSettings) -> str:
    if isinstance(error, Refused) and error.forbidden:
        needed = "; ".join(map(str, KubernetesProbe.rights_for(wanted)))
        return f"{error} (the probe needs the rights: {needed})"
    return str(error)


def _described(wanted: KubernetesProbeSettings) -> str:
    words = [f"pods in {wanted.namespace}"]
    if wanted.deployment is not None:
        words.append(f"of Deployment {wanted.deployment}")
    if wanted.selector is not None:
        words.append(f"with {wanted.selector}")
    if wanted.version is not None:
        words.append(f"of version {wanted.version}")
    return " ".join(words)
