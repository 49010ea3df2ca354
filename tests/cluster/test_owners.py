"""What Argo CD's and Flux's objects do to an object of which a switch writes one field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from watchdog.cluster.managers import Claim, Tool
from watchdog.cluster.objects import SERVICES, Metadata
from watchdog.cluster.owners import Application, HelmRelease, Keeping, Kustomization, keeping, pointer_of

SERVICE = Metadata(name="trips", namespace="prod")
FIELDS = ("/spec/selector/version",)
HEALS = {"automated": {"prune": True, "selfHeal": True}}


def of(shape: type[Any], spec: dict[str, Any], **found: Any) -> Keeping:
    text = msgspec.json.encode({"metadata": {"name": "trips", "namespace": "argocd", **found}, "spec": spec})
    return keeping(msgspec.json.decode(text, type=shape), SERVICE, SERVICES, FIELDS)


def ignores(**rule: Any) -> dict[str, Any]:
    return {"syncPolicy": HEALS, "ignoreDifferences": [{"kind": "Service", **rule}]}


@pytest.mark.parametrize(
    ("spec", "reverts", "writes"),
    [
        ({}, "", ""),
        ({"syncPolicy": {}}, "", ""),
        ({"syncPolicy": HEALS}, "self-heal", ""),
        ({"syncPolicy": {"automated": {}}}, "", "writes it with the next commit"),
        ({"syncPolicy": {"automated": {"selfHeal": False}}}, "", "writes it with the next commit"),
        ({"syncPolicy": {"automated": {"selfHeal": True, "enabled": False}}}, "", ""),
        ({"syncPolicy": {"automated": {"selfHeal": True, "enabled": True}}}, "self-heal", ""),
        (
            ignores(jsonPointers=["/spec/selector/version"]),
            "",
            "ignores the switch until the next commit",
        ),
        (ignores(jsonPointers=["/spec/selector"]), "", "ignores the switch until the next commit"),
        (ignores(jqPathExpressions=[".spec.selector"]), "", "ignores the switch until the next commit"),
        (ignores(jqPathExpressions=['.spec["selector"].version'], name="trips", namespace="prod"), "", ...),
        (ignores(jsonPointers=["/spec/selector/versions"]), "self-heal", ""),
        (ignores(jsonPointers=["/spec/sel"]), "self-heal", ""),
        (ignores(jqPathExpressions=[".spec.selector | keys"]), "self-heal", ""),
        (ignores(jsonPointers=["/spec/selector"], name="other"), "self-heal", ""),
        (ignores(jsonPointers=["/spec/selector"], namespace="staging"), "self-heal", ""),
        (ignores(jsonPointers=["/spec/selector"], group="apps"), "self-heal", ""),
        (ignores(managedFieldsManagers=["rollback-watchdog"]), "self-heal", ""),
    ],
)
def test_only_a_self_heal_that_does_not_ignore_the_field_undoes_a_switch(
    spec: dict[str, Any], reverts: str, writes: Any
) -> None:
    found = of(Application, spec)
    assert found.reverts == reverts
    assert found.writes == writes or writes is ...


def test_who_respects_ignored_differences_when_syncing_never_writes_the_field() -> None:
    spec = ignores(jsonPointers=["/spec/selector"])
    spec["syncPolicy"] = {**HEALS, "syncOptions": ["RespectIgnoreDifferences=true"]}
    found = of(Application, spec)
    assert (found.reverts, found.writes) == ("", "")


@pytest.mark.parametrize("spec", [{"suspend": False}, {}])
def test_a_kustomization_applies_everything_again(spec: dict[str, Any]) -> None:
    assert of(Kustomization, spec).reverts == "applied again at every interval"


@pytest.mark.parametrize("shape", [Kustomization, HelmRelease])
def test_what_is_suspended_writes_nothing(shape: type[Any]) -> None:
    found = of(shape, {"suspend": True, "driftDetection": {"mode": "enabled"}})
    assert (found.on, found.reverts, found.writes) == (False, "", "")


@pytest.mark.parametrize(
    ("drift", "reverts"),
    [
        (None, ""),
        ({"mode": "warn"}, ""),
        ({"mode": "enabled"}, "drift detection"),
        ({"mode": "enabled", "ignore": [{"paths": ["/spec/selector"]}]}, ""),
        ({"mode": "enabled", "ignore": [{"paths": ["/spec/replicas"]}]}, "drift detection"),
        ({"mode": "enabled", "ignore": [{"paths": ["/spec"], "target": {"kind": "Service"}}]}, ""),
        (
            {"mode": "enabled", "ignore": [{"paths": ["/spec"], "target": {"kind": "Deployment"}}]},
            "drift detection",
        ),
        (
            {"mode": "enabled", "ignore": [{"paths": ["/spec"], "target": {"labelSelector": "a=b"}}]},
            "drift detection",
        ),
    ],
)
def test_a_helm_release_undoes_only_what_it_detects(drift: dict[str, Any] | None, reverts: str) -> None:
    found = of(HelmRelease, {} if drift is None else {"driftDetection": drift})
    assert found.reverts == reverts
    assert found.writes == ("" if reverts else "writes it with the next release")


def test_who_keeps_the_owner_is_said_with_it() -> None:
    by_set = [{"kind": "ApplicationSet", "name": "fleet", "uid": "u", "controller": True}]
    found = of(Application, {"syncPolicy": HEALS}, ownerReferences=by_set)
    assert found.parent == "ApplicationSet fleet"
    assert found.reverts == "self-heal; kept by ApplicationSet fleet"
    parent = Claim(tool=Tool.ARGO_CD, namespace="argocd", name="root")
    owner = msgspec.json.decode('{"metadata":{"name":"trips"},"spec":{}}', type=Application)
    assert keeping(owner, SERVICE, SERVICES, FIELDS, parents=[parent]).parent == str(parent)


@pytest.mark.parametrize(
    ("was", "patch"),
    [
        ({"prune": True, "selfHeal": True}, {"syncPolicy": {"automated": {"prune": True, "selfHeal": True}}}),
        ({}, {"syncPolicy": {"automated": {}}}),
    ],
)
def test_an_application_is_turned_off_and_on_by_a_merge_patch(was: Any, patch: Any) -> None:
    found = of(Application, {"syncPolicy": {}})
    assert found.off == {"syncPolicy": {"automated": None}}
    assert found.restored(was) == patch


def test_what_somebody_added_meanwhile_goes_when_what_was_there_is_restored() -> None:
    found = of(Application, {"syncPolicy": {"automated": {"enabled": False, "prune": True}}})
    patch = {"automated": {"enabled": None, "prune": None, "selfHeal": True}}
    assert found.restored({"selfHeal": True}) == {"syncPolicy": patch}


def test_flux_is_suspended_and_gets_back_what_stood_there() -> None:
    found = of(Kustomization, {"suspend": False})
    assert found.off == {"suspend": True}
    assert (found.current, found.restored(False)) == (False, {"suspend": False})
    assert of(HelmRelease, {}).restored(None) == {"suspend": None}


@pytest.mark.parametrize(
    ("expression", "pointer"),
    [
        (".spec.selector.version", "/spec/selector/version"),
        ('.spec.selector["app/version"]', "/spec/selector/app~1version"),
        ('.spec."selector"', "/spec/selector"),
        (".spec.rules[0]", ""),
        (".spec.rules[]?.http", ""),
        (".spec | del(.a)", ""),
        ("", ""),
    ],
)
def test_a_path_that_only_names_keys_is_a_pointer(expression: str, pointer: str) -> None:
    assert pointer_of(expression) == pointer
