"""Who says that he keeps an object: metadata as Argo CD, Flux, Helm and autoscalers write it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from watchdog.cluster.managers import Claim, Tool, claims, notes, wrote_last
from watchdog.cluster.objects import DEPLOYMENTS, SERVICES, Kind, Metadata


def metadata(**fields: Any) -> Metadata:
    """The metadata of the Service prod/trips, decoded from JSON as it comes over the wire."""
    body = {"name": "trips", "namespace": "prod", "uid": "u-1", "resourceVersion": "7", **fields}
    return msgspec.json.decode(msgspec.json.encode(body), type=Metadata)


def by_argo(namespace: str, name: str) -> list[Claim]:
    return [Claim(tool=Tool.ARGO_CD, namespace=namespace, name=name)]


ARGO_FIELDS = [
    {"manager": "argocd-controller", "operation": "Apply", "time": "2026-03-02T10:00:00Z"},
    {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status"},
]
#: As kustomize-controller labels what it applies.
FLUX = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
FLUX_HELM = {"helm.toolkit.fluxcd.io/name": "trips", "helm.toolkit.fluxcd.io/namespace": "prod"}
#: As `helm install` marks what it creates.
HELM = {
    "labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "trips"},
    "annotations": {"meta.helm.sh/release-name": "trips", "meta.helm.sh/release-namespace": "prod"},
    "managedFields": [{"manager": "helm", "operation": "Update", "time": "2026-03-02T10:00:00Z"}],
}
KUSTOMIZATION = [Claim(tool=Tool.KUSTOMIZATION, namespace="flux-system", name="apps")]
HELM_RELEASE = [Claim(tool=Tool.HELM_RELEASE, namespace="prod", name="trips")]


def tracked(text: str) -> dict[str, Any]:
    return {"annotations": {"argocd.argoproj.io/tracking-id": text}}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        pytest.param({}, [], id="nobody"),
        pytest.param(tracked("trips:/Service:prod/trips"), by_argo("argocd", "trips"), id="tracked"),
        pytest.param(
            tracked("team-a_trips:/Service:prod/trips"), by_argo("team-a", "trips"), id="any-namespace"
        ),
        pytest.param(tracked("trips:/Service:prod/other"), [], id="a-copy"),
        pytest.param(tracked("trips:/Service:staging/trips"), [], id="a-copy-in-another-namespace"),
        pytest.param(tracked("trips:apps/Deployment:prod/trips"), [], id="another-kind"),
        pytest.param(tracked("trips"), [], id="garbage"),
        pytest.param(
            {"labels": {"app.kubernetes.io/instance": "trips"}, "managedFields": ARGO_FIELDS},
            by_argo("argocd", "trips"),
            id="by-label",
        ),
        pytest.param({"labels": {"app.kubernetes.io/instance": "trips"}}, [], id="the-label-of-a-chart"),
        pytest.param({"managedFields": ARGO_FIELDS}, [], id="synced-once-and-let-go"),
        pytest.param(HELM, [], id="helm"),
        pytest.param({"labels": FLUX}, KUSTOMIZATION, id="kustomization"),
        pytest.param({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, [], id="half-a-kustomization"),
        pytest.param(
            {"labels": FLUX, "annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}},
            [],
            id="reconcile-disabled",
        ),
        pytest.param(
            {"labels": {**FLUX, "kustomize.toolkit.fluxcd.io/reconcile": "Disabled"}},
            [],
            id="reconcile-disabled-by-label",
        ),
        pytest.param(
            {"labels": FLUX, "annotations": {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}},
            [],
            id="only-created",
        ),
        pytest.param(
            {"labels": FLUX, "annotations": {"kustomize.toolkit.fluxcd.io/ssa": "Merge"}},
            KUSTOMIZATION,
            id="merged",
        ),
        pytest.param({"labels": FLUX_HELM}, HELM_RELEASE, id="helm-release"),
        pytest.param(
            {"labels": FLUX_HELM, "annotations": {"helm.toolkit.fluxcd.io/driftDetection": "disabled"}},
            [],
            id="drift-detection-off-for-it",
        ),
        pytest.param(
            {"labels": FLUX, **tracked("trips:/Service:prod/trips")},
            [*by_argo("argocd", "trips"), *KUSTOMIZATION],
            id="two-of-them",
        ),
    ],
)
def test_an_object_says_whom_it_comes_from(fields: dict[str, Any], found: list[Claim]) -> None:
    assert list(claims(metadata(**fields), SERVICES)) == found


def test_a_group_is_part_of_the_tracking_id() -> None:
    fields = tracked("trips:apps/Deployment:prod/trips")
    assert list(claims(metadata(**fields), DEPLOYMENTS)) == by_argo("argocd", "trips")


@pytest.mark.parametrize("kind", [SERVICES, DEPLOYMENTS], ids=lambda kind: kind.plural)
def test_where_argo_cd_is_and_what_it_labels_by_can_be_said(kind: Kind[Any]) -> None:
    fields = {"labels": {"argocd.argoproj.io/instance": "trips"}, "managedFields": ARGO_FIELDS}
    found = claims(
        metadata(**fields), kind, argocd_namespace="gitops", argocd_label="argocd.argoproj.io/instance"
    )
    assert list(found) == by_argo("gitops", "trips")


@pytest.mark.parametrize(
    ("fields", "noted"),
    [
        ({}, []),
        (HELM, ["Helm release prod/trips writes it at the next upgrade"]),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, ["Helm writes it at the next upgrade"]),
        # Argo CD renders charts itself: the label says nothing of a release then.
        (
            {"labels": {"app.kubernetes.io/managed-by": "Helm"}, **tracked("trips:/Service:prod/trips")},
            [],
        ),
        ({**HELM, "labels": FLUX_HELM}, []),
        (
            {"managedFields": [{"manager": "kube-controller-manager", "subresource": "scale"}]},
            ["an autoscaler sets its replicas"],
        ),
        ({"managedFields": [{"manager": "kubectl", "subresource": "scale"}]}, []),
    ],
)
def test_helm_and_autoscalers_are_only_noted(fields: dict[str, Any], noted: list[str]) -> None:
    found = metadata(**fields)
    assert list(notes(found, claims(found, SERVICES))) == noted


OURS = {"manager": "rollback-watchdog", "operation": "Update", "time": "2026-03-02T10:00:05Z"}


@pytest.mark.parametrize(
    ("others", "who"),
    [
        ([], ""),
        ([{"manager": "argocd-controller", "time": "2026-03-02T10:00:10Z"}], "argocd-controller"),
        ([{"manager": "kubectl-patch", "time": "2026-03-02T10:00:05Z"}], ""),
        ([{"manager": "kubectl-edit", "time": "2026-03-02T10:00:00Z"}], ""),
        (
            [
                {"manager": "kustomize-controller", "time": "2026-03-02T10:01:00Z"},
                {"manager": "kubectl-edit", "time": "2026-03-02T10:00:30Z"},
            ],
            "kustomize-controller",
        ),
        (
            [{"manager": "kube-controller-manager", "subresource": "status", "time": "2026-03-02T11:00:00Z"}],
            "",
        ),
    ],
)
def test_managed_fields_tell_who_wrote_after_us(others: list[dict[str, Any]], who: str) -> None:
    assert wrote_last(metadata(managedFields=[OURS, *others])) == who


def test_who_never_wrote_has_nobody_after_him() -> None:
    assert wrote_last(metadata(managedFields=ARGO_FIELDS)) == ""
