"""What Argo CD's and Flux's own objects say: what they keep, whether they undo changes, how they are turned off.

Shapes as of argo-cd 3 (pkg/apis/application/v1alpha1/types.go), kustomize-controller (v1) and helm-controller (v2);
older ones read the same. This module must never ask the API server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from watchdog.cluster.managers import Claim, Tool
from watchdog.cluster.objects import Json, Kind, Metadata, Object, Shape


class Ignored(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of an application's `spec.ignoreDifferences`."""

    group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    json_pointers: tuple[str, ...] | None = ()
    jq_path_expressions: tuple[str, ...] | None = ()


class SyncPolicy(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec.syncPolicy` of an application. `automated` is kept word for word: it is restored from a copy."""

    automated: Json | None = None
    sync_options: tuple[str, ...] | None = ()


class ApplicationSpec(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec` of an application."""

    sync_policy: SyncPolicy | None = None
    ignore_differences: tuple[Ignored, ...] | None = ()


class Application(Object, frozen=True, kw_only=True, rename="camel"):
    """An Argo CD application."""

    spec: ApplicationSpec = ApplicationSpec()


class KustomizationSpec(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec` of a Flux Kustomization. `suspend` is `None` where it is not written."""

    suspend: bool | None = None


class Kustomization(Object, frozen=True, kw_only=True, rename="camel"):
    """A Flux Kustomization: applies everything it has again at every interval."""

    spec: KustomizationSpec = KustomizationSpec()


class Target(Shape, frozen=True, kw_only=True, rename="camel"):
    """Which objects a rule of `driftDetection.ignore` is about; selectors are not understood here."""

    group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    version: str = ""
    label_selector: str = ""
    annotation_selector: str = ""


class IgnoredDrift(Shape, frozen=True, kw_only=True, rename="camel"):
    """An entry of `spec.driftDetection.ignore`."""

    paths: tuple[str, ...] = ()
    target: Target | None = None


class DriftDetection(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec.driftDetection`: only `enabled` undoes changes; left out is `disabled`."""

    mode: str = "disabled"
    ignore: tuple[IgnoredDrift, ...] | None = ()


class HelmReleaseSpec(Shape, frozen=True, kw_only=True, rename="camel"):
    """`spec` of a Flux HelmRelease."""

    suspend: bool | None = None
    drift_detection: DriftDetection | None = None


class HelmRelease(Object, frozen=True, kw_only=True, rename="camel"):
    """A Flux HelmRelease."""

    spec: HelmReleaseSpec = HelmReleaseSpec()


Keeper = Application | Kustomization | HelmRelease

APPLICATIONS: Final = Kind(
    group="argoproj.io", version="v1alpha1", plural="applications", name="Application", shape=Application
)
KUSTOMIZATIONS: Final = Kind(
    group="kustomize.toolkit.fluxcd.io",
    version="v1",
    plural="kustomizations",
    name="Kustomization",
    shape=Kustomization,
)
HELM_RELEASES: Final = Kind(
    group="helm.toolkit.fluxcd.io",
    version="v2",
    plural="helmreleases",
    name="HelmRelease",
    shape=HelmRelease,
)
#: Where each tool's objects are.
KINDS: Final[dict[Tool, Kind[Any]]] = {
    Tool.ARGO_CD: APPLICATIONS,
    Tool.KUSTOMIZATION: KUSTOMIZATIONS,
    Tool.HELM_RELEASE: HELM_RELEASES,
}


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner does to one object.

    `reverts` says how it would undo a switch, empty when it would not; `writes` how else it writes the object. `on`:
    it writes by itself at all. `current` is what `off` (a part of `spec`, as a merge patch) changes. `parent` is who
    keeps the owner itself, and may turn it on again.
    """

    metadata: Metadata
    on: bool
    current: Any
    reverts: str = ""
    writes: str = ""
    parent: str = ""
    place: tuple[str, ...] = ()
    off_value: Any = None

    @property
    def off(self) -> Json:
        """The merge patch of `spec` that turns it off."""
        return self.restored(self.off_value)

    def restored(self, was: Any) -> Json:
        """The merge patch of `spec` that puts back what stood there; `None` takes it away."""
        patch: Any = was
        if isinstance(was, dict) and isinstance(self.current, dict):
            patch = {**dict.fromkeys(self.current), **was}  # a merge patch takes away only what it names
        for key in reversed(self.place):
            patch = {key: patch}
        found: Json = patch
        return found


def keeping(
    owner: Keeper,
    metadata: Metadata,
    kind: Kind[Any],
    fields: Sequence[str],
    *,
    parents: Iterable[Claim] = (),
) -> Keeping:
    """What an owner does to the object of this metadata and kind, of which a switch writes `fields` (JSON pointers)."""
    parent = _parent(owner.metadata, parents)
    match owner:
        case Application():
            return _application(owner, metadata, kind, fields, parent)
        case Kustomization():
            return _kustomization(owner, parent)
        case HelmRelease():
            return _helm_release(owner, metadata, kind, fields, parent)


def _parent(metadata: Metadata, parents: Iterable[Claim]) -> str:
    sets = [f"{one.kind} {one.name}" for one in metadata.owner_references if one.kind == "ApplicationSet"]
    return " and ".join([*sets, *map(str, parents)])


def _application(
    owner: Application, metadata: Metadata, kind: Kind[Any], fields: Sequence[str], parent: str
) -> Keeping:
    policy = owner.spec.sync_policy or SyncPolicy()
    automated = policy.automated
    # `enabled` came with argo-cd 3; older ones do not know it, and removing `automated` works for all.
    on = automated is not None and automated.get("enabled") is not False
    heals = on and automated is not None and automated.get("selfHeal") is True
    ignored = [one for one in owner.spec.ignore_differences or () if _is_about(one, metadata, kind)]
    paths = [path for one in ignored for path in _paths(one)]
    covered = _covers(paths, fields)
    reverts, writes = "", ""
    if heals and not covered:
        reverts = _with("self-heal", parent)
    elif on and not (covered and "RespectIgnoreDifferences=true" in (policy.sync_options or ())):
        writes = "writes it with the next commit" if not heals else "ignores the switch until the next commit"
    return Keeping(
        metadata=owner.metadata,
        on=on,
        current=automated,
        reverts=reverts,
        writes=writes,
        parent=parent,
        place=("syncPolicy", "automated"),
    )


def _kustomization(owner: Kustomization, parent: str) -> Keeping:
    on = owner.spec.suspend is not True
    return Keeping(
        metadata=owner.metadata,
        on=on,
        current=owner.spec.suspend,
        reverts=_with("applied again at every interval", parent) if on else "",
        parent=parent,
        place=("suspend",),
        off_value=True,
    )


def _helm_release(
    owner: HelmRelease, metadata: Metadata, kind: Kind[Any], fields: Sequence[str], parent: str
) -> Keeping:
    on = owner.spec.suspend is not True
    drift = owner.spec.drift_detection or DriftDetection()
    rules = [one for one in drift.ignore or () if _is_aimed(one.target, metadata, kind)]
    covered = _covers([path for one in rules for path in one.paths], fields)
    corrects = on and drift.mode == "enabled" and not covered
    return Keeping(
        metadata=owner.metadata,
        on=on,
        current=owner.spec.suspend,
        reverts=_with("drift detection", parent) if corrects else "",
        writes="writes it with the next release" if on and not corrects else "",
        parent=parent,
        place=("suspend",),
        off_value=True,
    )


def _with(how: str, parent: str) -> str:
    return f"{how}; kept by {parent}" if parent else how


def _is_about(one: Ignored, metadata: Metadata, kind: Kind[Any]) -> bool:
    """As argo-cd matches: group and kind may be globs (only `*` here), name and namespace may be left out."""
    return (
        one.group in {kind.group, "*"}
        and one.kind in {kind.name, "*"}
        and one.name in {"", metadata.name}
        and one.namespace in {"", metadata.namespace}
    )


def _is_aimed(target: Target | None, metadata: Metadata, kind: Kind[Any]) -> bool:
    if target is None:
        return True
    return (
        not target.label_selector
        and not target.annotation_selector
        and target.group in {"", kind.group}
        and target.version in {"", kind.version}
        and target.kind in {"", kind.name}
        and target.name in {"", metadata.name}
        and target.namespace in {"", metadata.namespace}
    )


def _paths(one: Ignored) -> Iterable[str]:
    yield from one.json_pointers or ()
    for expression in one.jq_path_expressions or ():
        pointer = pointer_of(expression)
        if pointer:
            yield pointer


#: A step of a jq path that names one key: `.spec`, `."a.b"` or `["a.b"]`.
_STEP: Final = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_]*)|\.?\["([^"\\]*)"\]|\."([^"\\]*)\"""")


def pointer_of(expression: str) -> str:
    """A jq path that only names keys as a JSON pointer; empty for any other, which covers nothing for sure."""
    text, keys, at = expression.strip(), list[str](), 0
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            return ""
        keys.append(next(group for group in step.groups() if group is not None))
        at = step.end()
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def _covers(paths: Sequence[str], fields: Sequence[str]) -> bool:
    """Whether every field lies at one of the paths, or below."""
    return bool(fields) and all(
        any(field == path or field.startswith(f"{path.rstrip('/')}/") for path in paths) for field in fields
    )
