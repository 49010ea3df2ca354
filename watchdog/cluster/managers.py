"""Who else writes an object, as its labels, annotations and managed fields tell. Pure.

Argo CD and Flux say on every object which of theirs it comes from; whether that one would undo a switch stands there
(`watchdog.cluster.gitops`). Helm and autoscalers undo nothing by themselves and are only noted. This module must never
ask the API server, nor take a name for proof: charts write Argo CD's label, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from watchdog.cluster.objects import FieldManager, Kind, Metadata

#: What our own writes are called in managed fields.
OURSELVES: Final = "rollback-watchdog"

#: Argo CD's annotation since 2.2, its default since 3.0: `APP:GROUP/KIND:NAMESPACE/NAME` (argo-cd,
#: util/argo/resource_tracking.go).
TRACKING: Final = "argocd.argoproj.io/tracking-id"
#: Argo CD's label before that. Helm charts write it, too.
INSTANCE: Final = "app.kubernetes.io/instance"
_KUSTOMIZE: Final = "kustomize.toolkit.fluxcd.io/"
_HELM: Final = "helm.toolkit.fluxcd.io/"
#: Flux leaves an object alone that says one of these (fluxcd/kustomize-controller, docs/spec/v1/kustomizations.md).
_LEFT_ALONE: Final = {"reconcile": {"disabled"}, "ssa": {"ignore", "ifnotpresent"}}
_RELEASE: Final = "meta.helm.sh/release-"
_BY: Final = "app.kubernetes.io/managed-by"


class Tool(StrEnum):
    """What keeps objects as a source says; the value is for people."""

    ARGO_CD = "Argo CD application"
    KUSTOMIZATION = "Flux Kustomization"
    HELM_RELEASE = "Flux HelmRelease"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """An object of Argo CD or Flux that says it keeps another one."""

    tool: Tool
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.tool} {self.namespace}/{self.name}"


def claims(
    metadata: Metadata, kind: Kind[Any], *, argocd_namespace: str = "argocd", argocd_label: str = INSTANCE
) -> tuple[Claim, ...]:
    """What says that it keeps this object. `argocd_namespace` is where Argo CD's own applications are."""
    found = (
        _application(metadata, kind, argocd_namespace, argocd_label),
        _of_flux(metadata, Tool.KUSTOMIZATION, _KUSTOMIZE),
        _of_flux(metadata, Tool.HELM_RELEASE, _HELM),
    )
    return tuple(one for one in found if one is not None)


def _application(metadata: Metadata, kind: Kind[Any], namespace: str, label: str) -> Claim | None:
    tracked = metadata.annotations.get(TRACKING)
    if tracked is not None:
        instance, _, what = tracked.partition(":")
        # A copy of a tracked object carries the annotation, too; Argo CD does not look after it.
        if what != f"{kind.group}/{kind.name}:{metadata.namespace}/{metadata.name}":
            return None
    elif label in metadata.labels and any(
        one.manager.startswith("argocd-") for one in metadata.managed_fields
    ):
        instance = metadata.labels[label]
    else:
        return None
    # Applications outside of Argo CD's own namespace are called NAMESPACE_NAME; no name in Kubernetes has a `_`.
    space, between, name = instance.partition("_")
    return Claim(
        tool=Tool.ARGO_CD, namespace=space if between else namespace, name=name if between else instance
    )


def _of_flux(metadata: Metadata, tool: Tool, prefix: str) -> Claim | None:
    name, namespace = metadata.labels.get(prefix + "name"), metadata.labels.get(prefix + "namespace")
    if not name or not namespace:
        return None
    if tool is Tool.KUSTOMIZATION and _left_alone(metadata):
        return None
    if tool is Tool.HELM_RELEASE and _says(metadata, prefix + "driftDetection", {"disabled"}):
        return None
    return Claim(tool=tool, namespace=namespace, name=name)


def _left_alone(metadata: Metadata) -> bool:
    return any(_says(metadata, _KUSTOMIZE + name, values) for name, values in _LEFT_ALONE.items())


def _says(metadata: Metadata, key: str, values: set[str]) -> bool:
    """Whether a label or an annotation has one of these values; Flux takes either, and any case."""
    return any(
        found.get(key, "").strip().lower() in values for found in (metadata.labels, metadata.annotations)
    )


def notes(metadata: Metadata, found: Iterable[Claim] = ()) -> tuple[str, ...]:
    """Who else writes the object without undoing a switch: Helm at its next release, an autoscaler its replicas."""
    noted = []
    release = metadata.annotations.get(_RELEASE + "name")
    by_helm = metadata.labels.get(_BY) == "Helm"
    if not any(claim.tool is Tool.HELM_RELEASE for claim in found):
        if release:
            space = metadata.annotations.get(_RELEASE + "namespace") or metadata.namespace
            noted.append(f"Helm release {space}/{release} writes it at the next upgrade")
        elif by_helm and not any(found):
            noted.append("Helm writes it at the next upgrade")
    if any(_scales(one) for one in metadata.managed_fields):
        noted.append("an autoscaler sets its replicas")
    return tuple(noted)


def _scales(one: FieldManager) -> bool:
    """People scale as `kubectl`; the controllers for HorizontalPodAutoscalers are part of the controller manager."""
    return one.subresource == "scale" and one.manager == "kube-controller-manager"


def wrote_last(metadata: Metadata) -> str:
    """Who wrote the object after us, as managed fields name him (`argocd-controller`); else empty.

    Managed fields know seconds: of who wrote in the very second in which we did, nobody can tell.
    """
    written = [one for one in metadata.managed_fields if not one.subresource and one.time]
    ours = max((one.time for one in written if one.manager == OURSELVES), default="")
    others = [one for one in written if one.manager != OURSELVES and ours and one.time > ours]
    return max(others, key=lambda one: one.time).manager if others else ""
