"""Switches on a real API server when somebody else writes, answers are lost, rights are missing, the server restarts.

What is tried of every switch in memory (`tests/contracts/test_kubernetes_faults.py`), where it depends on the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.worlds import NODE, RealWorld, path
from tests.contracts.kubernetes_rigs import IngressRig, ObjectRig, ServiceRig
from tests.contracts.test_traffic import to_green
from tests.eventually import Eventually
from tests.faults.proxy import Deed
from tests.servers.kubelet import kubelet
from tests.servers.kubernetes import Kubernetes
from watchdog.cluster.client import Cluster
from watchdog.cluster.marks import EPOCH, PAUSED, ROLLBACK
from watchdog.cluster.objects import PODS, SERVICES, Kind
from watchdog.cluster.settings import ClusterSettings
from watchdog.core.errors import (
    SwitchConflict,
    SwitchError,
    SwitchRejected,
    SwitchUnknown,
    SwitchUnreachable,
)
from watchdog.traffic.kubernetes_ingress_paths import INGRESSES

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]

DEPLOYMENTS: Kind[Any] = Kind(
    group="apps", version="v1", plural="deployments", name="Deployment", shape=PODS.shape
)


class Meddled(Cluster):
    """A connection that lets something happen right before a patch goes out, once."""

    meddle: Callable[[], None] | None = None

    async def patch(self, *words: Any, **named: Any) -> bytes:
        deed, self.meddle = self.meddle, None
        if deed is not None:
            await asyncio.to_thread(deed)
        return await super().patch(*words, **named)


@asynccontextmanager
async def real_rig(server: Kubernetes, kind: type[ObjectRig]) -> AsyncIterator[tuple[ObjectRig, Meddled]]:
    async with RealWorld.open(server) as world:
        await world.cluster.aclose()
        world.cluster = Meddled(
            ClusterSettings(kubeconfig=server.kubeconfig, url=f"https://127.0.0.1:{world.proxy.port}")
        )
        yield kind(world), world.cluster


@pytest.fixture(params=[ServiceRig, IngressRig], ids=["service", "ingress"])
async def meddled(
    request: pytest.FixtureRequest, kubernetes: Kubernetes
) -> AsyncIterator[tuple[ObjectRig, Meddled]]:
    async with real_rig(kubernetes, request.param) as made:
        yield made


Meddling = tuple[ObjectRig, Meddled]


async def test_a_write_of_somebody_else_between_our_read_and_our_write_is_seen(meddled: Meddling) -> None:
    rig, cluster = meddled
    change = to_green(await rig.switch.read())
    body = {"metadata": {"labels": {"touched": "yes"}}}
    cluster.meddle = lambda: rig.world.patch(rig.kind, rig.name, body)
    after = await rig.switch.apply(change)
    assert (after.live, after.mark) == (("green",), "rb-1")
    assert rig.world.get(rig.kind, rig.name)["metadata"]["labels"]["touched"] == "yes"
    assert rig.effects() == 2, "his label, and our change"


async def test_a_person_who_moves_traffic_in_between_wins(meddled: Meddling) -> None:
    rig, cluster = meddled
    change = to_green(await rig.switch.read())

    def moved_on() -> None:
        rig.move("green")
        rig.pause("I am at it")
        rig.move("blue")

    cluster.meddle = moved_on
    with pytest.raises(SwitchConflict, match="I am at it"):
        await rig.switch.apply(change)
    assert rig.effects() == 3, "all of them his"
    assert ROLLBACK not in rig.world.get(rig.kind, rig.name)["metadata"]["annotations"]


async def test_a_newer_watchdog_in_between_ends_our_time(meddled: Meddling) -> None:
    rig, cluster = meddled
    change = to_green(await rig.switch.read(), epoch=7)
    body = {"metadata": {"annotations": {EPOCH: "8"}}}
    cluster.meddle = lambda: rig.world.patch(rig.kind, rig.name, body)
    with pytest.raises(SwitchRejected, match="newer watchdog"):
        await rig.switch.apply(change)
    assert (await rig.switch.read()).live == ("blue",)


@pytest.mark.parametrize("deed", [Deed.CUT, Deed.MUTE], ids=["cut", "mute"])
async def test_an_answer_that_is_lost_after_the_change_took_effect_is_unknown_and_then_found_done(
    meddled: Meddling, deed: Deed, eventually: Eventually
) -> None:
    rig, cluster = meddled
    world = rig.world
    assert isinstance(world, RealWorld)
    change = to_green(await rig.switch.read())
    cluster.meddle = lambda: world.proxy.always(deed)
    with pytest.raises(SwitchUnknown):
        await rig.switch.apply(change)
    world.proxy.release()

    async def found() -> bool:
        try:
            state = await rig.switch.read()
        except SwitchError:
            return False
        return (state.live, state.mark) == (("green",), "rb-1")

    await eventually(found, within=30)
    assert (await rig.switch.apply(change)).live == ("green",)
    assert rig.effects() == 1, "one write in all"


async def test_an_object_that_was_deleted_and_made_anew_is_another_one(meddled: Meddling) -> None:
    rig, _ = meddled
    change = to_green(await rig.switch.read())
    old = rig.world.get(rig.kind, rig.name)
    rig.vanish()
    metadata = {"name": rig.name, "labels": old["metadata"].get("labels", {})}
    spec = {name: value for name, value in old["spec"].items() if not name.startswith("clusterIP")}
    rig.world.put(rig.kind, {"metadata": metadata, "spec": spec})
    with pytest.raises(SwitchConflict):
        await rig.switch.apply(change)
    assert (await rig.switch.read()).live == ("blue",)


async def test_paths_that_changed_places_in_between_are_not_mixed_up(kubernetes: Kubernetes) -> None:
    async with real_rig(kubernetes, IngressRig) as (rig, cluster):
        change = to_green(await rig.switch.read())
        paths = [path("/admin", "admin"), path("/", "trips-blue")]
        rules = [{"host": "trips.example.com", "http": {"paths": paths}}]
        cluster.meddle = lambda: rig.world.patch(INGRESSES, "trips", {"spec": {"rules": rules}})
        with pytest.raises(SwitchUnreachable, match="more than one backend"):
            await rig.switch.apply(change)
        there = rig.world.get(INGRESSES, "trips")["spec"]["rules"][0]["http"]["paths"]
        assert [one["backend"]["service"]["name"] for one in there] == ["admin", "trips-blue"]


async def test_a_name_that_the_server_does_not_take_is_rejected_in_its_words(kubernetes: Kubernetes) -> None:
    async with real_rig(kubernetes, ServiceRig) as (rig, _):
        labels = {"app": "trips", "version": "green"}
        change = to_green(await rig.switch.read())
        webhook = _denying_policy(rig.world.namespace)
        kubernetes.apply(*webhook)
        try:
            rejected = await _rejected(rig, change)
        finally:
            kubernetes.kubectl(
                "delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "--all"
            )
        assert "no moves on Fridays" in rejected
        assert labels != rig.world.get(SERVICES, "trips")["spec"]["selector"]


def _denying_policy(namespace: str) -> list[dict[str, Any]]:
    """Somebody's rule in the cluster that refuses changes of Services in a namespace."""
    group = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["services"]}
    named = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "no moves on Fridays"}],
    }
    binding = {
        "policyName": "fridays",
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": named},
    }
    return [
        {
            "apiVersion": group,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "fridays"},
            "spec": policy,
        },
        {
            "apiVersion": group,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "fridays"},
            "spec": binding,
        },
    ]


async def _rejected(rig: ObjectRig, change: Any) -> str:
    """What a refused change says; the server takes a moment to learn a policy, and until then takes the change."""
    async with asyncio.timeout(60):
        while True:
            try:
                await rig.switch.apply(change)
            except SwitchRejected as error:
                return str(error)
            state = await rig.switch.read()
            back = to_green(state, target="blue", away=("green",))
            try:
                change = to_green(await rig.switch.apply(back))
            except SwitchRejected as error:
                return str(error)


async def test_missing_rights_are_named_as_a_role_would_have_to_grant_them(
    kubernetes: Kubernetes, tmp_path: Path
) -> None:
    async with RealWorld.open(kubernetes) as world:
        everything = {"apiGroups": ["", "apps", "discovery.k8s.io"], "resources": ["*"]}
        token = kubernetes.service_account(
            world.namespace, "reader", [{**everything, "verbs": ["get", "list", "watch"]}]
        )
        await world.cluster.aclose()
        world.cluster = Cluster(ClusterSettings(kubeconfig=kubernetes.write_kubeconfig("reader", token)))
        rig = ServiceRig(world)
        state = await rig.switch.read()
        with pytest.raises(SwitchRejected) as rejected:
            await rig.switch.apply(to_green(state))
        told = str(rejected.value)
        assert 'cannot patch resource "services" in API group ""' in told
        assert f'in the namespace "{world.namespace}"' in told
        assert token not in told
        daylight = await rig.switch.inspect()
        assert daylight is not None
        assert f"patch services 'trips' in namespace {world.namespace}" in daylight
        assert rig.effects() == 0


async def test_without_any_right_nothing_can_be_read_and_the_first_missing_one_is_named(
    kubernetes: Kubernetes,
) -> None:
    async with RealWorld.open(kubernetes) as world:
        token = kubernetes.service_account(world.namespace, "nobody", [])
        await world.cluster.aclose()
        world.cluster = Cluster(ClusterSettings(kubeconfig=kubernetes.write_kubeconfig("nobody", token)))
        with pytest.raises(SwitchUnreachable, match='cannot get resource "services"'):
            await ServiceRig(world).switch.read()


@pytest.mark.parametrize("kind", [ServiceRig, IngressRig], ids=["service", "ingress"])
async def test_the_rights_that_a_switch_names_are_all_it_needs(
    kubernetes: Kubernetes, kind: type[ObjectRig]
) -> None:
    async with RealWorld.open(kubernetes) as world:
        rules = [
            {
                "apiGroups": [right.group],
                "resources": [right.resource],
                "verbs": [right.verb],
                **({"resourceNames": [right.name]} if right.name else {}),
            }
            for right in kind(world).again().rights
        ]
        token = kubernetes.service_account(world.namespace, "exact", rules)
        await world.cluster.aclose()
        world.cluster = Cluster(ClusterSettings(kubeconfig=kubernetes.write_kubeconfig("exact", token)))
        rig = kind(world)
        assert await rig.switch.inspect() is None
        assert (await rig.switch.apply(to_green(await rig.switch.read()))).live == ("green",)


async def test_a_namespace_and_an_object_that_are_not_there_are_told(kubernetes: Kubernetes) -> None:
    async with RealWorld.open(kubernetes) as world:
        rig = ServiceRig(world)
        rig.vanish()
        with pytest.raises(SwitchUnreachable, match='services "trips" not found'):
            await rig.switch.read()
        world.namespace = "nowhere"
        with pytest.raises(SwitchUnreachable, match='services "trips" not found'):
            await rig.again().read()


async def test_an_api_server_that_was_restarted_is_used_again(
    kubernetes: Kubernetes, eventually: Eventually
) -> None:
    async with RealWorld.open(kubernetes) as world:
        rig = ServiceRig(world)
        change = to_green(await rig.switch.read())
        await asyncio.to_thread(kubernetes.api.stop)
        try:
            with pytest.raises(SwitchUnreachable):
                await rig.switch.apply(change)
        finally:
            # Here and not in a thread: a process ends with the thread that started it (`tests.servers.process`).
            kubernetes.api.start()

        async def written() -> bool:
            try:
                return (await rig.switch.apply(change)).live == ("green",)
            except SwitchUnreachable:
                return False

        await eventually(written, within=60)
        assert rig.effects() == 1


async def test_real_deployments_tell_versions_and_a_standby_that_is_scaled_to_zero(
    kubernetes: Kubernetes, eventually: Eventually
) -> None:
    async with RealWorld.open(kubernetes) as world:
        for pod in ("blue-1", "green-1"):
            world.delete(PODS, pod)
        rig = ServiceRig(world)
        for value, image in (("blue", "app:v1"), ("green", "app:v2")):
            world.put(DEPLOYMENTS, _deployment(value, image))
        async with kubelet(world.cluster, world.namespace):
            await eventually(lambda: _told(rig, blue=("v1", 2), green=("v2", 2)), within=60)
            world.patch(DEPLOYMENTS, "trips-green", {"spec": {"replicas": 0}})
            await eventually(lambda: _told(rig, blue=("v1", 2), green=("v2", 0)), within=60)
            green = (await rig.switch.read()).variants["green"]
            assert (green.total, "scaled to 0" in green.note) == (0, True)
            # A rolling update in place: the same variant with another version.
            spec = _deployment("blue", "app:v3")["spec"]["template"]["spec"]
            world.patch(DEPLOYMENTS, "trips-blue", {"spec": {"template": {"spec": spec}}})
            await eventually(lambda: _told(rig, blue=("v3", 2), green=("v2", 0)), within=60)


def _deployment(value: str, image: str) -> dict[str, Any]:
    labels = {"app": "trips", "version": value}
    spec = {"nodeName": NODE, "containers": [{"name": "app", "image": image}]}
    return {
        "metadata": {"name": f"trips-{value}"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


async def _told(rig: ObjectRig, **wanted: tuple[str, int]) -> bool:
    variants = (await rig.switch.read()).variants
    told = {name: (one.version, one.ready) for name, one in variants.items()}
    assert told == wanted
    return True


async def test_a_paused_annotation_is_obeyed_by_kubectl_as_documented(kubernetes: Kubernetes) -> None:
    async with RealWorld.open(kubernetes) as world:
        rig = ServiceRig(world)
        change = to_green(await rig.switch.read())
        kubernetes.kubectl("-n", world.namespace, "annotate", "service", "trips", f"{PAUSED}=migration")
        with pytest.raises(SwitchConflict, match="migration"):
            await rig.switch.apply(change)
        kubernetes.kubectl("-n", world.namespace, "annotate", "service", "trips", f"{PAUSED}-")
        assert (await rig.switch.apply(change)).live == ("green",)
