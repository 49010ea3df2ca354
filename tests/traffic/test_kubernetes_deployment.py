"""A Deployment's template as a switch, with a tiny controller in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.cluster.fake_api import Asked, Fault
from tests.cluster.rollouts import (
    REVISION,
    FakeRollouts,
    moved,
    replica_set,
    template,
    unhashed,
    writes,
)
from watchdog.cluster.marks import EPOCH, PAUSED, ROLLBACK
from watchdog.cluster.objects import DEPLOYMENTS, PODS, REPLICA_SETS
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState
from watchdog.traffic.kubernetes_deployment import DeploymentSettings, KubernetesDeploymentSwitch

ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}


@pytest.fixture
async def world() -> AsyncIterator[FakeRollouts]:
    """Four replicas of v2 on blue, v1 on green is scaled to 0."""
    async with FakeRollouts.open() as made:
        scale(made, 4)
        yield made


def scale(world: FakeRollouts, replicas: int) -> None:
    world.patch(DEPLOYMENTS, "trips", {"spec": {"replicas": replicas}})


def switch(world: FakeRollouts, **settings: Any) -> KubernetesDeploymentSwitch:
    made = DeploymentSettings(
        namespace="prod", deployment="trips", **{"timeout": timedelta(seconds=5), **settings}
    )
    return KubernetesDeploymentSwitch(made, name="trips", cluster=world.cluster)


def back(state: TrafficState, **other: Any) -> Change:
    facts: dict[str, Any] = {"target": "green", "away": ("blue",), "expect": state.revision, "mark": "rb-1"}
    return Change(**(facts | {"epoch": 7} | other))


def template_writes(world: FakeRollouts) -> list[Asked]:
    return [one for one in world.api.writes() if one.plural == "deployments"]


# -- reading


async def test_variants_are_the_replica_sets_with_version_pods_and_number(world: FakeRollouts) -> None:
    state = await switch(world).read()
    blue, green = state.variants["blue"], state.variants["green"]
    assert (blue.weight, blue.version, blue.ready, blue.total) == (100, "v2", 4, 4)
    assert (green.weight, green.version, green.ready, green.total) == (0, "v1", 4, 4)
    assert blue.note == "revision 2"
    assert green.note == (
        "revision 1; it is scaled to 0; a rolling update starts its pods before it stops others"
    )
    assert blue.content != green.content


async def test_the_version_is_the_image_where_no_label_tells_it(world: FakeRollouts) -> None:
    pods = template("v3", name="red")
    del pods["metadata"]["labels"]["app.kubernetes.io/version"]
    world.rollout(pods)
    assert (await switch(world).read()).variants["red"].version == "v3"
    pods["spec"]["containers"][0]["image"] = "registry.example.com:5000/trips"
    pods["metadata"]["labels"]["name"] = "grey"
    world.rollout(pods)
    assert (await switch(world).read()).variants["grey"].version is None


async def test_every_way_to_set_a_template_is_another_revision_and_nothing_else_is(
    world: FakeRollouts,
) -> None:
    first = (await switch(world).read()).revision
    scale(world, 6)
    world.patch(DEPLOYMENTS, "trips", {"metadata": {"annotations": {"note": "x"}, "labels": {"a": "b"}}})
    world.fate("blue-1", "pending")
    assert (await switch(world).read()).revision == first
    world.rollout(template("v3", name="red"))
    second = await switch(world).read()
    assert (second.live, second.revision != first) == (("red",), True)
    moved(world, "blue")
    assert (await switch(world).read()).revision == first


async def test_a_restart_is_another_variant_with_the_same_version_and_content(world: FakeRollouts) -> None:
    pods = template("v3")
    world.rollout(pods)
    before = await switch(world).read()
    notes = {"kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"}
    world.rollout({**pods, "metadata": {**pods["metadata"], "annotations": notes}})
    after = await switch(world).read()
    (old,), (new,) = before.live, after.live
    assert old != new
    assert after.variants[new].version == "v3"
    assert after.variants[new].content == after.variants[old].content == before.variants[old].content
    assert after.revision != before.revision


async def test_during_a_rollout_the_template_is_live_and_old_pods_are_told(world: FakeRollouts) -> None:
    world.becomes = lambda one: "ready" if one["metadata"]["name"] == "trips-blue" else "CrashLoopBackOff"
    world.holds.add("blue")
    world.rollout(template("v3", name="red"))
    reason = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    condition = {**reason, "message": 'ReplicaSet "trips-red" has timed out progressing.'}
    world.lags = True
    world.patch(DEPLOYMENTS, "trips", {"status": {"conditions": [condition], "replicas": 8}})
    state = await switch(world).read()
    red, blue = state.variants["red"], state.variants["blue"]
    assert state.live == ("red",)
    assert (red.ready, red.total, blue.ready, blue.total) == (0, 4, 4, 4)
    assert red.note == (
        "revision 3; 4 of 4 pods updated, 0 ready; 4 pods of others are still there; "
        'ProgressDeadlineExceeded: ReplicaSet "trips-red" has timed out progressing.'
    )


async def test_pods_that_the_live_template_should_have_count_for_what_must_be_stood_in_for(
    world: FakeRollouts,
) -> None:
    world.lags = True
    for name in ("blue-1", "blue-2", "blue-3"):
        world.delete(PODS, name)
    reason = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    condition = {**reason, "message": "exceeded quota: pods"}
    world.patch(DEPLOYMENTS, "trips", {"status": {"conditions": [condition], "updatedReplicas": 1}})
    blue = (await switch(world).read()).variants["blue"]
    assert (blue.ready, blue.total) == (1, 4)
    assert blue.note.endswith(
        "1 of 4 pods updated, 1 ready; 3 pods of others are still there; FailedCreate: exceeded quota: pods"
    )


async def test_a_template_that_the_controller_has_not_seen_cannot_be_read_until_it_has(
    world: FakeRollouts,
) -> None:
    world.lags = True
    world.rollout(template("v3", name="red"))
    with pytest.raises(SwitchUnreachable, match=r"has not seen generation 4 yet \(it saw 3\)"):
        await switch(world).read()
    world.lags = False
    world.settle_now()
    assert (await switch(world).read()).live == ("red",)


async def test_a_template_that_is_no_replica_sets_is_told_as_that(world: FakeRollouts) -> None:
    world.lags = True
    world.delete(REPLICA_SETS, "trips-blue")
    found = world.get(DEPLOYMENTS, "trips")["metadata"]
    notes = {**found["annotations"], REVISION: "7"}
    world.patch(DEPLOYMENTS, "trips", {"metadata": {"annotations": notes}})
    with pytest.raises(SwitchUnreachable, match="none of its 1 ReplicaSets has its template"):
        await switch(world).read()


async def test_a_deployment_that_is_going_or_gone_cannot_be_read(world: FakeRollouts) -> None:
    world.lags = True
    world.patch(DEPLOYMENTS, "trips", {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    with pytest.raises(SwitchUnreachable, match="is being deleted"):
        await switch(world).read()
    world.delete(DEPLOYMENTS, "trips")
    with pytest.raises(SwitchUnreachable, match='"trips" not found'):
        await switch(world).read()


async def test_replica_sets_of_another_deployment_are_no_variants(world: FakeRollouts) -> None:
    stranger = replica_set(template("v9"), "stranger", replicas=3)
    world.lags = True
    world.put(REPLICA_SETS, stranger)
    assert set((await switch(world).read()).variants) == {"blue", "green"}


# -- what counts as ready


@pytest.mark.parametrize(
    ("strategy", "absent", "ready", "words"),
    [
        (ROLLING, "rolling", 4, "starts its pods before it stops others"),
        (ROLLING, "veto", 0, "`scaled_to_zero: veto` counts no others"),
        ({"type": "Recreate"}, "rolling", 0, "Recreate stops all pods before it starts others"),
        ({"type": "Recreate"}, "allow", 4, "the Deployment starts its pods after it stopped the others"),
        (
            {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "rolling",
            0,
            "RollingUpdate with this maxUnavailable stops all pods before it starts others",
        ),
    ],
)
async def test_what_is_scaled_to_zero_counts_where_nothing_is_stopped_for_it(
    world: FakeRollouts, strategy: dict[str, Any], absent: str, ready: int, words: str
) -> None:
    body = {"rollingUpdate": None, **strategy}
    world.patch(DEPLOYMENTS, "trips", {"spec": {"strategy": body}})
    green = (await switch(world, scaled_to_zero=absent).read()).variants["green"]
    assert green.ready == ready
    assert words in green.note


async def test_pods_of_the_target_that_are_not_ready_speak_for_those_it_would_get(
    world: FakeRollouts,
) -> None:
    world.holds.add("blue")
    world.rollout(template("v3", name="red"))
    assert (await switch(world).read()).variants["blue"].ready == 4
    world.fate("blue-1", "CrashLoopBackOff")
    world.fate("blue-2", "pending")
    blue = (await switch(world).read()).variants["blue"]
    assert (blue.ready, blue.total) == (2, 4)
    assert "2 of its 4 pods are ready" in blue.note
    for name in ("blue-3", "blue-4"):
        world.fate(name, "pending")
    assert (await switch(world).read()).variants["blue"].ready == 0


async def test_a_deployment_that_is_scaled_to_zero_has_nothing_ready(world: FakeRollouts) -> None:
    scale(world, 0)
    state = await switch(world).read()
    assert (state.variants["blue"].ready, state.variants["green"].ready) == (0, 0)


# -- writing


async def test_a_rollback_writes_the_recorded_template_and_its_marks_and_nothing_else(
    world: FakeRollouts,
) -> None:
    foreign = {
        "spec": {"minReadySeconds": 3, "strategy": ROLLING},
        "metadata": {"labels": {"team": "booking"}},
    }
    world.patch(DEPLOYMENTS, "trips", foreign)
    made = switch(world)
    before = world.get(DEPLOYMENTS, "trips")
    state = await made.apply(back(await made.read()))
    after = world.get(DEPLOYMENTS, "trips")
    assert (state.live, state.mark) == (("green",), "rb-1")
    assert after["spec"] == {**before["spec"], "template": template("v1", name="green")}
    assert after["metadata"]["labels"] == {"team": "booking"}
    assert after["metadata"]["annotations"][ROLLBACK] == "rb-1"
    assert after["metadata"]["annotations"][EPOCH] == "7"
    assert len(template_writes(world)) == 1
    assert set(world.sets()) == {"blue", "green"}, "the old ReplicaSet is used again"


async def test_settings_of_the_good_template_come_back_whole(world: FakeRollouts) -> None:
    good = template("v2", name="good", LEVEL="info", EXTRA="1")
    good["spec"]["volumes"] = [{"name": "cache", "emptyDir": {}}]
    good["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"}
    world.rollout(good)
    world.rollout(template("v2", name="bad", LEVEL="debug"))
    made = switch(world)
    await made.apply(back(await made.read(), target="good", away=("bad",)))
    assert world.get(DEPLOYMENTS, "trips")["spec"]["template"] == good


async def test_replicas_that_an_autoscaler_sets_between_decision_and_write_stay(world: FakeRollouts) -> None:
    made = switch(world)
    change = back(await made.read())
    scale(world, 9)
    state = await made.apply(change)
    assert state.live == ("green",)
    assert world.get(DEPLOYMENTS, "trips")["spec"]["replicas"] == 9
    (ours,) = template_writes(world)
    assert not [step for step in ours.body if "replicas" in step["path"]]


async def test_a_target_that_was_removed_between_read_and_write_is_refused(world: FakeRollouts) -> None:
    made = switch(world)
    change = back(await made.read())
    world.delete(REPLICA_SETS, "trips-green")
    with pytest.raises(SwitchRejected, match="no variant 'green'"):
        await made.apply(change)
    assert template_writes(world) == []


async def test_without_a_revision_history_there_is_no_variant_to_go_to(world: FakeRollouts) -> None:
    world.keeps = 0
    world.settle_now()
    assert set((await switch(world).read()).variants) == {"blue"}


async def test_an_image_that_somebody_sets_between_decision_and_write_stays(world: FakeRollouts) -> None:
    made = switch(world)
    change = back(await made.read())
    world.rollout(template("v3", name="red"))
    with pytest.raises(SwitchConflict):
        await made.apply(change)
    assert template_writes(world) == []
    assert (await made.read()).live == ("red",)


async def test_an_image_that_somebody_sets_between_our_read_and_our_write_stays(world: FakeRollouts) -> None:
    made = switch(world)
    change = back(await made.read())

    def late(asked: Asked) -> None:
        if asked.write:
            world.api.before = lambda _: None
            world.rollout(template("v3", name="red"))

    world.api.before = late
    with pytest.raises(SwitchConflict):
        await made.apply(change)
    assert world.get(DEPLOYMENTS, "trips")["spec"]["template"] == template("v3", name="red")
    assert len(template_writes(world)) == 1, "the second time it is not even tried"


async def test_a_status_that_changes_all_the_time_is_no_reason_to_give_up(world: FakeRollouts) -> None:
    made = switch(world)
    change = back(await made.read())
    left = 2

    def churn(asked: Asked) -> None:
        nonlocal left
        if asked.write and left:
            left -= 1
            world.lags = True
            world.patch(DEPLOYMENTS, "trips", {"status": {"unavailableReplicas": left}})
            world.lags = False

    world.api.before = churn
    assert (await made.apply(change)).live == ("green",)
    assert len(template_writes(world)) == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.DENY, SwitchRejected), (Fault.BUSY, SwitchUnreachable), (Fault.BREAK, SwitchUnknown)],
)
async def test_what_the_api_server_says_to_a_write_is_told_for_what_it_is(
    world: FakeRollouts, fault: Fault, error: type[Exception]
) -> None:
    made = switch(world, timeout=timedelta(seconds=1))
    world.api.retry_after = 20
    change = back(await made.read())
    world.api.fault = lambda asked: fault if asked.write else None
    with pytest.raises(error):
        await made.apply(change)
    assert writes(world) == 3


async def test_an_answer_that_is_lost_after_the_write_is_unknown_and_found_done(world: FakeRollouts) -> None:
    made = switch(world)
    change = back(await made.read())
    world.api.fault = lambda asked: Fault.LOSE if asked.write else None
    with pytest.raises(SwitchUnknown):
        await made.apply(change)
    world.api.fault = lambda _: None
    state = await made.apply(change)
    assert (state.live, state.mark) == (("green",), "rb-1")
    assert len(template_writes(world)) == 1


async def test_our_own_write_can_be_read_before_the_controller_has_seen_it(world: FakeRollouts) -> None:
    made = switch(world)
    change = back(await made.read())
    world.lags = True
    assert (await made.apply(change)).live == ("green",)


async def test_a_template_that_a_webhook_changes_is_not_taken_for_ours(world: FakeRollouts) -> None:
    made = switch(world)
    change = back(await made.read())
    world.lags = True
    seen = []

    def mutate(asked: Asked) -> None:
        if asked.write:
            seen.append(asked)
        elif seen:
            world.api.before = lambda _: None
            world.rollout(template("v1", name="mutated", SIDECAR="yes"))

    world.api.before = mutate
    with pytest.raises(SwitchUnknown, match="written, but not read back"):
        await made.apply(change)
    world.lags = False
    world.settle_now()
    assert (await made.read()).live == ("mutated",)


# -- the human wins


async def test_a_paused_deployment_is_left_alone_and_says_why(world: FakeRollouts) -> None:
    made = switch(world)
    before = await made.read()
    world.patch(DEPLOYMENTS, "trips", {"spec": {"paused": True}})
    state = await made.read()
    assert state.paused == "its rollouts are paused: kubectl rollout resume"
    with pytest.raises(SwitchConflict, match="is paused"):
        await made.apply(back(before))
    world.patch(DEPLOYMENTS, "trips", {"metadata": {"annotations": {PAUSED: "migration"}}})
    assert (await made.read()).paused == "migration; its rollouts are paused: kubectl rollout resume"
    world.patch(DEPLOYMENTS, "trips", {"spec": {"paused": None}})
    assert (await made.read()).paused == "migration"


async def test_what_a_paused_deployment_was_set_to_is_live_when_it_goes_on(world: FakeRollouts) -> None:
    world.patch(DEPLOYMENTS, "trips", {"spec": {"paused": True}})
    world.rollout(template("v3", name="red"))
    assert (await switch(world).read()).live == ("blue",)
    world.patch(DEPLOYMENTS, "trips", {"spec": {"paused": None}})
    assert (await switch(world).read()).live == ("red",)


async def test_an_undo_that_brings_old_annotations_back_hides_neither_mark_nor_epoch(
    world: FakeRollouts,
) -> None:
    made = switch(world)
    change = back(await made.read())
    await made.apply(change)
    # As `kubectl rollout undo` does: the template and the annotations of the ReplicaSet, in place of those there.
    blue, found = world.sets()["blue"], world.get(DEPLOYMENTS, "trips")
    found["metadata"]["annotations"] = {REVISION: "3", "kubernetes.io/change-cause": "undo"}
    found["spec"]["template"] = unhashed(blue["spec"]["template"])
    world.put(DEPLOYMENTS, found)
    state = await made.read()
    assert (state.live, state.mark) == (("blue",), "rb-1")
    with pytest.raises(SwitchRejected, match="newer watchdog"):
        await made.apply(back(state, epoch=6))
    assert len(template_writes(world)) == 1


async def test_a_newer_watchdog_is_not_overruled(world: FakeRollouts) -> None:
    made = switch(world)
    world.patch(DEPLOYMENTS, "trips", {"metadata": {"annotations": {EPOCH: "8"}}})
    with pytest.raises(SwitchRejected, match="epoch 8, ours is 7"):
        await made.apply(back(await made.read()))


# -- in daylight


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"revisionHistoryLimit": 0}, "raise its revisionHistoryLimit from 0"),
        ({"strategy": {"type": "Recreate"}}, "set `scaled_to_zero: allow`"),
        ({"revisionHistoryLimit": 1, "strategy": ROLLING}, None),
    ],
)
async def test_what_leaves_no_way_back_is_told_before_anybody_needs_it(
    world: FakeRollouts, spec: dict[str, Any], words: str | None
) -> None:
    world.patch(DEPLOYMENTS, "trips", {"spec": spec})
    told = await switch(world).inspect()
    assert (told is None) if words is None else (words in (told or ""))
    if "strategy" in spec:
        assert await switch(world, scaled_to_zero="allow").inspect() is None


async def test_an_inspection_tells_what_cannot_be_asked(world: FakeRollouts) -> None:
    world.api.forbidden.add(("patch", "deployments"))
    assert "the right is missing" in (await switch(world).inspect() or "")
    world.api.forbidden.clear()
    world.delete(DEPLOYMENTS, "trips")
    assert "not found" in (await switch(world).inspect() or "")


# -- others


async def test_the_rights_it_needs_are_to_read_three_kinds_and_to_patch_one_object(
    world: FakeRollouts,
) -> None:
    told = " ".join(str(right) for right in switch(world).rights)
    for word in ("deployments", "replicasets", "pods", "patch"):
        assert word in told
    assert "scale" not in told


async def test_pods_that_nobody_owns_are_not_counted(world: FakeRollouts) -> None:
    world.put(PODS, {"metadata": {"name": "stray", "labels": {"app": "trips"}}, "spec": {"containers": []}})
    assert (await switch(world).read()).variants["blue"].total == 4
