"""The probe `kubernetes`: which pods it looks at, what it makes of them, and when it knows nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from tests.cluster import recorded as r
from tests.cluster.fake_api import Asked, FakeApi, Fault
from tests.cluster.recorded import NOW
from watchdog.cluster.objects import DEPLOYMENTS, PODS
from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.probes.kubernetes import KubernetesProbe, KubernetesProbeSettings

DEPLOYMENT = {"namespace": "prod", "deployment": "trips"}


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    """Two good pods of v1, and the Deployment that made them."""
    async with FakeApi() as made:
        put(made, r.pod("trips-7c6d5f9b8-aaaaa", version="v1"), r.pod("trips-7c6d5f9b8-bbbbb", version="v1"))
        deploy(made, r.deployment(version="v1"))
        yield made


def put(api: FakeApi, *pods: dict[str, Any]) -> None:
    for one in pods:
        api.put(PODS, one["metadata"]["namespace"], one)


def deploy(api: FakeApi, thing: dict[str, Any]) -> None:
    """A Deployment whose controller has seen what it had to, or not."""
    lags = thing["metadata"]["generation"] - thing["status"]["observedGeneration"]
    generation = api.put(DEPLOYMENTS, "prod", thing)["metadata"]["generation"]
    api.patch(DEPLOYMENTS, "prod", "trips", {"status": {"observedGeneration": generation - lags}})


async def seen(api: FakeApi, **settings: Any) -> Pulse | Failed:
    """One check, its settings on the way that they take in the daemon."""
    probe = KubernetesProbe(cluster=api.cluster())
    wanted = KubernetesProbeSettings.model_validate({**DEPLOYMENT, **settings})
    return await probe.check(wanted.model_dump(mode="json", by_alias=True), now=NOW)


async def pulse(api: FakeApi, **settings: Any) -> Pulse:
    found = await seen(api, **settings)
    assert isinstance(found, Pulse), found
    assert (found.at, found.answered, bool(found.asked)) == (NOW, True, True)
    return found


async def failed(api: FakeApi, **settings: Any) -> str:
    found = await seen(api, **settings)
    assert isinstance(found, Failed), found
    assert found.reason is FailReason.UNABLE
    return found.detail


async def test_pods_that_run_are_alive(api: FakeApi) -> None:
    found = await pulse(api)
    assert (found.passed, found.detail) == (True, "2 pods, 2 ready, 0 in trouble")
    assert found.asked == "pods in prod of Deployment trips"


async def test_a_new_version_that_crashes_is_dead_beside_an_old_one_that_serves(api: FakeApi) -> None:
    put(api, r.pod("trips-5b8f7d6c4-ccccc", r.crash_loop(), version="v2"))
    found = await pulse(api)
    assert not found.passed
    assert found.detail.startswith("1 of 1 pods are in trouble: trips-5b8f7d6c4-ccccc: container app: CrashL")


@pytest.mark.parametrize("ask", [{"version": "v2"}, {"selector": "version=v2"}])
async def test_asked_of_one_version_only_that_one_counts(api: FakeApi, ask: dict[str, str]) -> None:
    put(api, r.pod("trips-5b8f7d6c4-ccccc", r.image_pull(), version="v2"))
    assert not (await pulse(api, **ask)).passed
    other = {key: value.replace("v2", "v1") for key, value in ask.items()}
    assert (await pulse(api, **other)).passed


async def test_the_version_is_a_label_or_what_the_image_says(api: FakeApi) -> None:
    digest = "sha256:" + "0f" * 32
    put(
        api,
        r.pod("by-digest", r.crash_loop(), version="v2", image=f"registry.example.com/trips@{digest}"),
        r.pod("by-label", r.crash_loop(), version="v3", labels={**_labels("v3"), "build": "77"}),
    )
    assert not (await pulse(api, version=digest)).passed
    assert not (await pulse(api, version="77", version_label="build")).passed
    assert (await pulse(api, version="v1")).passed


def _labels(version: str) -> dict[str, str]:
    labels: dict[str, str] = r.pod(version=version)["metadata"]["labels"]
    return labels


async def test_other_deployments_pods_do_not_count_though_they_have_the_same_labels(api: FakeApi) -> None:
    foreign = r.pod("other-1", r.crash_loop(), version="v2")
    foreign["metadata"]["ownerReferences"][0]["name"] = "trips-canary-5b8f7d6c4"
    put(api, foreign, r.completed(), r.evicted())
    found = await pulse(api)
    assert (found.passed, found.detail) == (True, "2 pods, 2 ready, 0 in trouble")


async def test_pods_that_are_over_or_on_their_way_out_are_no_target(api: FakeApi) -> None:
    put(
        api,
        r.evicted(),
        r.pod("trips-5b8f7d6c4-leave", r.crash_loop(), version="v2", deleting=True),
        r.completed(),
    )
    for ask in ({"version": "v2"}, {"deployment": None, "selector": "app=trips,version=v2"}):
        assert await failed(api, **ask) == "no pods are selected: nothing is known of them"


async def test_nothing_selected_is_not_dead_but_unknown(api: FakeApi) -> None:
    assert "no pods are selected" in await failed(api, version="v9")
    assert "no pods are selected" in await failed(api, deployment=None, selector="app=nobody")
    assert "no pods are selected" in await failed(
        api, namespace="elsewhere", selector="app=trips", deployment=None
    )


@pytest.mark.parametrize(
    ("bad", "good", "share", "alive"),
    [
        (1, 1, "50%", False),
        (1, 2, "50%", True),
        (1, 2, "33%", False),
        (2, 1, "100%", True),
        (3, 0, "100%", False),
    ],
)
async def test_as_many_pods_must_be_in_trouble_as_is_said(
    api: FakeApi, bad: int, good: int, share: str, alive: bool
) -> None:
    for number in range(bad):
        put(api, r.pod(f"bad-{number}", r.oom_killed(), version="v2"))
    for number in range(good):
        put(api, r.pod(f"good-{number}", version="v2"))
    assert (await pulse(api, version="v2", share=share)).passed is alive


async def test_only_what_is_chosen_makes_it_dead(api: FakeApi) -> None:
    put(api, r.pod("bad", r.crash_loop(), version="v2"))
    assert (await pulse(api, when=["image_pull", "oom_killed"])).passed
    assert not (await pulse(api, when=["crash_loop"])).passed


async def test_a_kill_for_memory_is_forgiven_after_a_while(api: FakeApi) -> None:
    put(api, r.pod("bad", r.oom_killed(at=120), version="v2"))
    assert not (await pulse(api, within="3m")).passed
    assert (await pulse(api, within="1m")).passed


async def test_a_deployment_that_does_not_come_up_in_time_is_dead_and_only_its_new_version(
    api: FakeApi,
) -> None:
    put(api, r.unscheduled())
    deploy(api, r.deployment(stuck=True))
    found = await pulse(api)
    assert (found.passed, found.detail) == (False, "Deployment trips is stuck: ProgressDeadlineExceeded")
    new: list[dict[str, Any]] = [{"version": "v2"}, {"selector": "version=v2"}]
    for ask in (*new, {"deployment": None, "selector": "app=trips"}):
        assert not (await pulse(api, **ask)).passed, ask
    old: list[dict[str, Any]] = [{"version": "v1"}, {"selector": "version=v1"}]
    for ask in (*old, {"when": ["crash_loop"]}):
        assert (await pulse(api, **ask)).passed, ask
    # Moved back: until its controller has seen that, nothing is said of the good template.
    deploy(api, r.deployment(version="v1", stuck=True, seen=False))
    assert (await pulse(api, version="v1")).passed


async def test_a_deployment_that_cannot_even_make_pods_is_dead(api: FakeApi) -> None:
    deploy(api, r.deployment(stuck=True))
    assert not (await pulse(api, version="v2")).passed


async def test_a_deployment_that_is_gone_is_not_dead_but_unknown(api: FakeApi) -> None:
    assert "404" in await failed(api, deployment="nobody")
    api.delete(DEPLOYMENTS, "prod", "trips")
    assert (await pulse(api, deployment=None, selector="app=trips")).passed


async def test_an_api_server_that_does_not_answer_says_nothing_of_the_pods(api: FakeApi) -> None:
    for fault in (Fault.CUT, Fault.BREAK, Fault.BUSY):
        api.fault = lambda _, fault=fault: fault  # type: ignore[misc]  # one each
        assert await failed(api, timeout="300ms")
    api.hang()
    assert "answer" in await failed(api, timeout="200ms")  # the call's end, or the check's
    api.resume()
    assert (await pulse(api)).passed
    await api.stop()
    assert await failed(api, timeout="300ms")


async def test_a_missing_right_is_named(api: FakeApi) -> None:
    def deny(asked: Asked) -> Fault | None:
        return Fault.DENY if asked.plural == "pods" else None

    api.fault = deny
    detail = await failed(api)
    assert "pods is forbidden" in detail
    assert "list pods in namespace prod; get deployments.apps 'trips' in namespace prod" in detail


async def test_a_check_costs_two_questions(api: FakeApi) -> None:
    for ask in ({}, {"deployment": None, "selector": "app=trips"}):
        api.asked.clear()
        await pulse(api, **ask)
        assert sorted(asked.plural for asked in api.asked) == ["deployments", "pods"]
    api.asked.clear()
    await pulse(api, deployment=None, selector="app=trips", when=["crash_loop"])
    assert [asked.plural for asked in api.asked] == ["pods"]


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to look at": ({"deployment": None}, "write `selector: KEY=VALUE` or `deployment: NAME`"),
    "no namespace": ({"namespace": "Prod!"}, "'Prod!' is not the name of a namespace"),
    "no deployment": ({"deployment": "a b"}, "'a b' is not the name of a Deployment"),
    "no condition": ({"selector": "app"}, "'app' is no condition on a label"),
    "another condition": ({"selector": "app!=trips"}, "is no condition on a label"),
    "a label twice": ({"selector": "app=a,app=b"}, "the label 'app' stands in 'app=a,app=b' twice"),
    "no value": ({"selector": "app=a/b"}, "'a/b' cannot be the value of a label"),
    "no label": ({"version_label": "-"}, "'-' is not the key of a label"),
    "nothing that is bad": ({"when": []}, "an empty list would never fail"),
    "an unknown trouble": ({"when": ["sad"]}, "crash_loop"),
    "no share": ({"share": "0%"}, "'0%' must be above 0% and at most 100%"),
    "too much": ({"share": "101%"}, "'101%' must be above 0% and at most 100%"),
    "a bare share": ({"share": 0.5}, "expected a percentage such as 50%, found 0.5"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_work_is_refused_with_what_to_write(name: str) -> None:
    settings, words = MISTAKES[name]
    with pytest.raises(ValidationError) as refused:
        KubernetesProbeSettings.model_validate({**DEPLOYMENT, **settings})
    assert words in str(refused.value)


@pytest.mark.parametrize("value", ["v1,app=other", "a/b", "sha256:1", "$x", "x" * 64, "", "v9"])
async def test_a_value_that_fits_no_label_selects_nothing_and_never_more(api: FakeApi, value: str) -> None:
    probe = KubernetesProbe(cluster=api.cluster())
    settings = {"namespace": "prod", "selector": f"app=trips,version={value}"}
    assert isinstance(await probe.check(settings, now=NOW), Failed)


async def test_a_namespace_or_deployment_that_is_no_name_asks_nothing(api: FakeApi) -> None:
    probe = KubernetesProbe(cluster=api.cluster())
    for settings in (
        {"namespace": "../../x", "deployment": "trips"},
        {"namespace": "prod", "deployment": "trips/status"},
        {"namespace": "$service", "deployment": "trips"},
    ):
        assert isinstance(await probe.check(settings, now=NOW), Failed)
    assert api.asked == []


async def test_a_closed_probe_says_so(api: FakeApi) -> None:
    probe = KubernetesProbe(cluster=api.cluster())
    await probe.aclose()
    await probe.aclose()
    answer = await probe.check(DEPLOYMENT, now=NOW)
    assert isinstance(answer, Failed)
    assert "closed" in answer.detail


def test_it_needs_to_list_pods_and_to_read_deployments_and_nothing_else() -> None:
    def rights(**settings: Any) -> list[str]:
        wanted = KubernetesProbeSettings.model_validate({"namespace": "prod", **settings})
        return [str(right) for right in KubernetesProbe.rights_for(wanted)]

    pods = "list pods in namespace prod"
    assert rights(deployment="trips") == [pods, "get deployments.apps 'trips' in namespace prod"]
    assert rights(selector="app=trips") == [pods, "get deployments.apps in namespace prod"]
    assert rights(selector="app=trips", when=["oom_killed"]) == [pods]
    assert rights(selector="app=trips", namespace="$environment") == []
