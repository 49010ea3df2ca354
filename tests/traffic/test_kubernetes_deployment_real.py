"""A Deployment's template as a switch, where the controllers, kubectl and the API server are real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.cluster.rollouts import RealRollouts, deployment, template, writes
from tests.eventually import eventually
from tests.servers.kubernetes import Kubernetes
from watchdog.cluster.marks import EPOCH, ROLLBACK
from watchdog.cluster.objects import DEPLOYMENTS, REPLICA_SETS, Kind, Object
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState
from watchdog.traffic.kubernetes_deployment import DeploymentSettings, KubernetesDeploymentSwitch

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(120)]

#: What the API server fills in, writes differently, or drops when it is empty.
RICH: dict[str, Any] = {
    "terminationGracePeriodSeconds": 7,
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "securityContext": {},
    "initContainers": [{"name": "init", "image": "registry.example.com/init", "env": []}],
    "volumes": [{"name": "cache", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}],
    "containers": [
        {
            "name": "app",
            "image": "registry.example.com/trips:v3",
            "resources": {"limits": {"cpu": "1000m", "memory": "0.5Gi"}, "requests": {"cpu": "0.1"}},
            "readinessProbe": {"httpGet": {"port": 80}},
            "ports": [{"containerPort": 80}],
            "env": [{"name": "A", "value": ""}, {"name": "B", "value": "x"}],
            "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
        }
    ],
}


@pytest.fixture
async def world(kubernetes: Kubernetes) -> AsyncIterator[RealRollouts]:
    async with RealRollouts.open(kubernetes) as made:
        yield made


@pytest.fixture
def switch(world: RealRollouts) -> KubernetesDeploymentSwitch:
    settings = DeploymentSettings(
        namespace=world.namespace, deployment="trips", timeout=timedelta(seconds=10)
    )
    return KubernetesDeploymentSwitch(settings, name="trips", cluster=world.cluster)


def back(state: TrafficState, **other: Any) -> Change:
    facts: dict[str, Any] = {"target": "green", "away": ("blue",), "expect": state.revision, "mark": "rb-1"}
    return Change(**(facts | {"epoch": 7} | other))


async def kubectl(world: RealRollouts, *words: str, stdin: str | None = None) -> str:
    return await asyncio.to_thread(lambda: world.server.kubectl("-n", world.namespace, *words, stdin=stdin))


async def seen(switch: KubernetesDeploymentSwitch) -> TrafficState:
    """What it reads, once the controller has seen what was written last: on a busy machine that takes a while."""

    async def read() -> TrafficState:
        try:
            return await switch.read()
        except SwitchUnreachable as error:
            raise AssertionError(str(error)) from error

    return await eventually(read, within=60, every=0.05, what="a state that can be read")


async def goes_live(
    switch: KubernetesDeploymentSwitch, fits: Callable[[TrafficState, str], bool], what: str
) -> str:
    """The variant that becomes live and fits."""

    async def live() -> str:
        state = await seen(switch)
        (found,) = state.live
        assert fits(state, found), f"{found} is live: {state.variants[found]}"
        return found

    return await eventually(live, within=60, every=0.05, what=what)


def version(wanted: str) -> Callable[[TrafficState, str], bool]:
    return lambda state, name: state.variants[name].version == wanted


async def test_every_usual_way_to_deploy_makes_another_variant_live(
    world: RealRollouts, switch: KubernetesDeploymentSwitch
) -> None:
    await kubectl(world, "set", "image", "deployment/trips", "app=registry.example.com/trips:v3")
    first = await goes_live(switch, lambda _, name: name not in {"blue", "green"}, "what set image makes")
    await kubectl(world, "rollout", "restart", "deployment/trips")
    again = await goes_live(switch, lambda _, name: name != first, "what restart makes")
    state = await seen(switch)
    assert state.variants[again].content == state.variants[first].content
    await kubectl(world, "rollout", "undo", "deployment/trips", "--to-revision=1")
    assert (await seen(switch)).live[0] in {"blue", "green"}
    body = deployment(template("v5"))
    applied = {"apiVersion": "apps/v1", "kind": "Deployment", **body}
    await kubectl(world, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(applied))
    await goes_live(switch, version("v5"), "what a server-side apply makes")
    applied["spec"]["template"] = template("v6")
    await kubectl(world, "replace", "-f", "-", stdin=json.dumps(applied))
    await goes_live(switch, version("v6"), "what replace makes")
    await kubectl(world, "set", "env", "deployment/trips", "CACHE=off")
    await goes_live(switch, lambda found, name: found.variants[name].total == 1, "what set env makes")
    assert (await seen(switch)).live != state.live


async def test_a_template_with_all_that_the_api_server_fills_in_comes_back_word_for_word(
    world: RealRollouts, switch: KubernetesDeploymentSwitch
) -> None:
    pods = {"metadata": {**template("v3")["metadata"], "annotations": {"note": "kept"}}, "spec": RICH}
    world_patch = {"spec": {"template": pods}}
    await asyncio.to_thread(world.patch, DEPLOYMENTS, "trips", world_patch)
    rich = await goes_live(switch, version("v3"), "the rich template")
    before = await asyncio.to_thread(world.get, DEPLOYMENTS, "trips")
    await switch.apply(back(await seen(switch), target="green", away=(rich,), mark="rb-1"))
    after = await switch.apply(back(await seen(switch), target=rich, away=("green",), mark="rb-2"))
    assert after.live == (rich,)
    found = await asyncio.to_thread(world.get, DEPLOYMENTS, "trips")
    assert found["spec"] == before["spec"]
    assert found["metadata"]["annotations"][ROLLBACK] == "rb-2"
    await world.settle()
    sets = json.loads(await kubectl(world, "get", "replicasets", "-o", "json"))["items"]
    assert len(sets) == 3, "no ReplicaSet is made for a template that one has"


async def test_the_controller_uses_the_old_replica_set_and_keeps_our_marks_on_it(
    world: RealRollouts, switch: KubernetesDeploymentSwitch
) -> None:
    await switch.apply(back(await seen(switch)))
    await world.settle()
    state = await seen(switch)
    assert (state.live, state.variants["green"].ready, state.mark) == (("green",), 1, "rb-1")
    assert state.written_by == ""

    def copied() -> bool:
        notes = world.get(REPLICA_SETS, "trips-green")["metadata"]["annotations"]
        return bool(notes.get(ROLLBACK) == "rb-1" and notes[EPOCH] == "7")

    await eventually(lambda: asyncio.to_thread(copied), within=20, what="our marks on the ReplicaSet")
    # What kubectl does then: template and annotations of the ReplicaSet before, in place of those that are there.
    await kubectl(world, "rollout", "undo", "deployment/trips")
    notes = (await asyncio.to_thread(world.get, DEPLOYMENTS, "trips"))["metadata"]["annotations"]
    assert ROLLBACK not in notes, "kubectl took our mark away"
    undone = await seen(switch)
    assert (undone.live, undone.mark) == (("blue",), "rb-1")
    with pytest.raises(SwitchRejected, match="newer watchdog"):
        await switch.apply(back(undone, epoch=6))


async def test_what_is_gone_is_told_and_nothing_is_written(
    world: RealRollouts, switch: KubernetesDeploymentSwitch
) -> None:
    change, before = back(await seen(switch)), writes(world)
    await kubectl(world, "delete", "replicaset/trips-green")
    with pytest.raises(SwitchRejected, match="no variant 'green'"):
        await switch.apply(change)
    assert await asyncio.to_thread(writes, world) == before
    await kubectl(world, "delete", "deployment/trips", "--cascade=orphan")
    with pytest.raises(SwitchUnreachable, match='"trips" not found'):
        await switch.apply(change)


async def test_without_a_history_the_old_replica_set_is_no_variant(
    world: RealRollouts, switch: KubernetesDeploymentSwitch
) -> None:
    await asyncio.to_thread(world.patch, DEPLOYMENTS, "trips", {"spec": {"revisionHistoryLimit": 0}})

    async def alone() -> bool:
        return set((await seen(switch)).variants) == {"blue"}

    await eventually(alone, within=30, what="a Deployment without a history")


async def test_an_image_that_somebody_sets_first_stays(
    world: RealRollouts, switch: KubernetesDeploymentSwitch
) -> None:
    change = back(await seen(switch))
    await kubectl(world, "set", "image", "deployment/trips", "app=registry.example.com/trips:v9")
    before = await asyncio.to_thread(writes, world)
    await goes_live(switch, lambda _, name: name not in {"blue", "green"}, "his image")
    with pytest.raises(SwitchConflict):
        await switch.apply(change)
    assert await asyncio.to_thread(writes, world) == before


async def test_a_policy_that_refuses_the_write_is_a_refusal_with_its_words(
    world: RealRollouts, switch: KubernetesDeploymentSwitch
) -> None:
    name = f"no-changes-{world.namespace}"
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}}
    rules = [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}
    ]
    group = "admissionregistration.k8s.io"
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules, **where},
        "validations": [{"expression": "false", "message": "a test that nobody passes: change freeze"}],
    }
    for kind, spec in (
        ("ValidatingAdmissionPolicy", policy),
        ("ValidatingAdmissionPolicyBinding", {"policyName": name, "validationActions": ["Deny"]}),
    ):
        thing = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        await asyncio.to_thread(world.server.apply, thing)

    def refused() -> bool:
        """It takes the API server a moment to know a policy."""
        words = ("-n", world.namespace, "annotate", "deployment/trips", "note=x", "--overwrite")
        return "change freeze" in world.server.kubectl(*words, check=False)

    await eventually(lambda: asyncio.to_thread(refused), within=30, every=0.2, what="a policy")
    before = await asyncio.to_thread(writes, world)
    with pytest.raises(SwitchRejected, match="change freeze"):
        await switch.apply(back(await seen(switch)))
    assert await asyncio.to_thread(writes, world) == before
    for plural in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        await kubectl(world, "delete", f"{plural}/{name}")


async def test_pods_that_never_start_are_told_with_the_deadline_and_the_old_ones_are_counted(
    world: RealRollouts, switch: KubernetesDeploymentSwitch
) -> None:
    world.broken.add("v3")
    change = {"replicas": 2, "progressDeadlineSeconds": 1, "template": template("v3", name="red")}
    await asyncio.to_thread(world.patch, DEPLOYMENTS, "trips", {"spec": {"replicas": 2}})
    await world.settle()
    await asyncio.to_thread(world.patch, DEPLOYMENTS, "trips", {"spec": change})

    async def stuck() -> TrafficState:
        state = await seen(switch)
        note = state.variants[state.live[0]].note
        assert "ProgressDeadlineExceeded" in note, note
        return state

    state = await eventually(stuck, within=40, every=0.1, what="a rollout that is stuck")
    assert state is not None
    (live,) = state.live
    assert state.variants[live].version == "v3"
    assert state.variants[live].ready == 0
    assert (state.variants["blue"].ready, state.variants["blue"].version) == (2, "v2")
    after = await switch.apply(back(state, target="blue", away=(live,)))
    assert after.live == ("blue",)
    await world.settle()


async def test_replicas_that_an_autoscaler_sets_are_left_alone(
    world: RealRollouts, switch: KubernetesDeploymentSwitch
) -> None:
    scalers = Kind(
        group="autoscaling",
        version="v2",
        plural="horizontalpodautoscalers",
        name="HorizontalPodAutoscaler",
        shape=Object,
    )
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "trips"}
    thing = {"metadata": {"name": "trips"}, "spec": {"scaleTargetRef": target, "maxReplicas": 9}}
    await asyncio.to_thread(world.put, scalers, thing)
    change = back(await seen(switch))
    # What an autoscaler does, between the decision and the write.
    await kubectl(world, "scale", "deployment/trips", "--replicas=3")
    after = await switch.apply(change)
    assert after.live == ("green",)
    found = await asyncio.to_thread(world.get, DEPLOYMENTS, "trips")
    assert found["spec"]["replicas"] == 3
    assert after.managed_by is None
