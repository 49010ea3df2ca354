"""A switch of an object that Argo CD or Flux keeps: who is said to undo it, suspended before it, resumed after it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cluster.fake_api import Asked, Fault
from tests.traffic.gitops import HEALS, SUSPENDED, Kept, switch_of, to_green
from watchdog.aio.clock import SystemClock
from watchdog.cluster.gitops import Owners
from watchdog.cluster.kube_events import EVENTS
from watchdog.cluster.look import Fresh
from watchdog.cluster.objects import SERVICES
from watchdog.cluster.owners import APPLICATIONS, KUSTOMIZATIONS
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.happenings import Happening


async def test_a_self_healing_application_is_named_as_who_would_undo_it() -> None:
    async with Kept.heal() as world:
        state = await switch_of(world).read()
        assert state.managed_by == "Argo CD application argocd/trips (self-heal)"
        assert state.suspended is None


async def test_what_nobody_keeps_costs_no_call_more() -> None:
    async with Kept.open() as world:
        switch = switch_of(world)
        await switch.read()
        assert isinstance(world, Kept)
        before = len(world.api.asked)
        state = await switch.read()
        assert (state.managed_by, state.noted) == (None, ())
        plain = {asked.plural for asked in world.api.asked[before:]}
        assert "applications" not in plain
        assert "events" not in plain


async def test_an_application_that_only_syncs_commits_is_noted() -> None:
    async with Kept.heal({"syncPolicy": {"automated": {}}}) as world:
        state = await switch_of(world).read()
        assert state.managed_by is None
        assert state.noted == ("Argo CD application argocd/trips writes it with the next commit",)


async def test_flux_is_named_until_it_is_suspended() -> None:
    async with Kept.open() as world:
        assert isinstance(world, Kept)
        world.flux()
        switch = switch_of(world)
        managed = (await switch.read()).managed_by
        assert managed == "Flux Kustomization flux-system/apps (applied again at every interval)"
        world.api.patch(KUSTOMIZATIONS, "flux-system", "apps", {"spec": {"suspend": True}})
        state = await switch.read()
        assert (state.managed_by, state.suspended) == (None, None)


async def test_an_owner_nobody_can_read_is_one_who_would_and_the_right_is_named() -> None:
    async with Kept.heal() as world:
        world.api.fault = lambda asked: Fault.DENY if asked.plural == "applications" else None
        managed = (await switch_of(world).read()).managed_by
        assert managed is not None
        assert managed.startswith("Argo CD application argocd/trips (whether it would is unknown: ")
        assert 'cannot get resource "applications"' in managed
        assert 'in the namespace "argocd"' in managed


async def test_an_owner_that_is_not_there_is_one_who_would() -> None:
    async with Kept.heal() as world:
        world.api.delete(APPLICATIONS, "argocd", "trips")
        managed = (await switch_of(world).read()).managed_by
        assert managed is not None
        assert "not found" in managed


async def test_argo_cd_may_be_elsewhere() -> None:
    async with Kept.heal() as world:
        world.application({}, namespace="gitops")
        assert (await switch_of(world, argocd_namespace="gitops").read()).managed_by is None


@pytest.mark.parametrize("suspend", [True, False])
async def test_it_is_suspended_before_the_switch_and_only_when_asked(suspend: bool) -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        state = await switch.apply(to_green(await switch.read(), suspend=suspend))
        assert world.live() == "green"
        written = [asked.plural for asked in world.api.writes()]
        assert written == (["applications", "services"] if suspend else ["services"])
        assert (state.managed_by is None) is suspend
        if suspend:
            assert state.suspended is not None
            assert (state.suspended.owner, state.suspended.rollback) == (
                "Argo CD application argocd/trips",
                "rb-1",
            )
            found = world.owner()
            assert found["spec"] == {"syncPolicy": {"syncOptions": ["A=b"]}}
            note = json.loads(found["metadata"]["annotations"][SUSPENDED])
            assert note == {"rollback": "rb-1", "was": HEALS["syncPolicy"]["automated"]}


@pytest.mark.parametrize(
    "automated", [{"prune": True, "selfHeal": True}, {"selfHeal": True, "enabled": True}]
)
async def test_a_resume_restores_exactly_what_stood_there(automated: dict[str, Any]) -> None:
    async with Kept.heal({"project": "default", "syncPolicy": {"automated": automated}}) as world:
        before = world.owner()
        switch = switch_of(world)
        await switch.apply(to_green(await switch.read()))
        assert await switch.resume("rb-1") == "Argo CD application argocd/trips"
        after = world.owner()
        assert json.dumps(after["spec"], sort_keys=True) == json.dumps(before["spec"], sort_keys=True)
        assert not after["metadata"].get("annotations")
        assert (await switch.read()).suspended is None
        with pytest.raises(SwitchRejected, match="nothing is suspended by the watchdog any more"):
            await switch.resume("rb-1")


@pytest.mark.parametrize("spec", [{}, {"suspend": False}])
async def test_flux_gets_back_what_stood_there(spec: dict[str, Any]) -> None:
    async with Kept.open() as world:
        assert isinstance(world, Kept)
        world.flux({"path": "./apps", **spec})
        switch = switch_of(world)
        state = await switch.apply(to_green(await switch.read()))
        assert state.suspended is not None
        assert world.owner(KUSTOMIZATIONS, "flux-system", "apps")["spec"]["suspend"] is True
        assert await switch.resume("rb-1") == "Flux Kustomization flux-system/apps"
        assert world.owner(KUSTOMIZATIONS, "flux-system", "apps")["spec"] == {"path": "./apps", **spec}


async def test_killed_between_suspend_and_switch_it_goes_on_and_forgets_nothing() -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        state = await switch.read()
        world.api.fault = lambda asked: Fault.BREAK if asked.write and asked.plural == "services" else None
        with pytest.raises(Exception, match="500"):
            await switch.apply(to_green(state))
        assert world.live() == "blue"
        world.api.resume()
        again = switch_of(world)  # another process
        state = await again.read()
        assert state.managed_by is None
        assert state.suspended is not None
        suspended = world.api.changes(APPLICATIONS, "argocd", "trips")
        await again.apply(to_green(state))
        assert world.live() == "green"
        assert world.api.changes(APPLICATIONS, "argocd", "trips") == suspended
        await again.resume("rb-1")
        assert world.owner()["spec"] == HEALS


async def test_a_second_rollback_keeps_the_first_original_under_its_own_name() -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        await switch.apply(to_green(await switch.read()))
        world.patch(SERVICES, "trips", {"spec": {"selector": {"version": "blue"}}})
        state = await switch.apply(to_green(await switch.read(), mark="rb-2"))
        assert state.suspended is not None
        assert state.suspended.rollback == "rb-2"
        with pytest.raises(SwitchConflict, match="suspended by rb-2 meanwhile"):
            await switch.resume("rb-1")
        await switch.resume("rb-2")
        assert world.owner()["spec"] == HEALS


async def test_what_a_person_turned_on_again_is_suspended_anew_as_it_is_then() -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        await switch.apply(to_green(await switch.read()))
        by_hand = {"spec": {"syncPolicy": {"automated": {"selfHeal": True}}}}
        world.api.patch(APPLICATIONS, "argocd", "trips", by_hand)
        assert (await switch.read()).suspended is None
        world.patch(SERVICES, "trips", {"spec": {"selector": {"version": "blue"}}})
        await switch.apply(to_green(await switch.read(), mark="rb-2"))
        await switch.resume("rb-2")
        assert world.owner()["spec"]["syncPolicy"]["automated"] == {"selfHeal": True}


async def test_what_a_person_turned_on_again_is_only_cleaned_up_by_a_resume() -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        await switch.apply(to_green(await switch.read()))
        by_hand = {"spec": {"syncPolicy": {"automated": {"selfHeal": True}}}}
        world.api.patch(APPLICATIONS, "argocd", "trips", by_hand)
        await switch.resume("rb-1")
        assert world.owner()["spec"]["syncPolicy"]["automated"] == {"selfHeal": True}
        assert not world.owner()["metadata"].get("annotations")


async def test_what_a_person_suspended_stays_his() -> None:
    async with Kept.heal({"syncPolicy": {}}) as world:
        switch = switch_of(world)
        state = await switch.apply(to_green(await switch.read()))
        assert state.suspended is None
        assert [asked.plural for asked in world.api.writes()] == ["services"]
        with pytest.raises(SwitchRejected, match="nothing is suspended"):
            await switch.resume("rb-1")


@pytest.mark.parametrize("broken", ["{", '"x"', '{"was": 1}'])
async def test_a_note_nobody_can_read_stops_the_switch(broken: str) -> None:
    async with Kept.heal({"syncPolicy": {}}) as world:
        world.api.patch(APPLICATIONS, "argocd", "trips", {"metadata": {"annotations": {SUSPENDED: broken}}})
        switch = switch_of(world)
        with pytest.raises(SwitchRejected, match="nobody knows what it was before"):
            await switch.apply(to_green(await switch.read()))
        assert world.live() == "blue"


async def test_who_may_not_suspend_switches_nothing() -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        state = await switch.read()
        world.api.fault = lambda asked: Fault.DENY if asked.write and asked.plural == "applications" else None
        with pytest.raises(SwitchRejected, match=r"cannot suspend Argo CD application argocd/trips: .*403"):
            await switch.apply(to_green(state))
        assert world.live() == "blue"
        assert world.owner()["spec"] == HEALS


@pytest.mark.parametrize("fault", [Fault.LIE, Fault.LOSE])
async def test_an_unknown_suspend_switches_nothing_and_is_found_at_the_next_try(fault: Fault) -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        state = await switch.read()
        world.api.fault = lambda asked: fault if asked.write and asked.plural == "applications" else None
        with pytest.raises(SwitchUnreachable, match="unknown whether its owner is suspended"):
            await switch.apply(to_green(state))
        assert world.live() == "blue"
        world.api.resume()
        await switch.apply(to_green(await switch.read()))
        assert world.live() == "green"
        await switch.resume("rb-1")
        assert world.owner()["spec"] == HEALS


async def test_an_api_server_that_says_nothing_about_the_owner_takes_no_longer_than_promised() -> None:
    async with Kept.heal() as world:
        switch = switch_of(world, timeout="500ms")
        state = await switch.read()
        world.api.fault = lambda asked: Fault.HANG if asked.write and asked.plural == "applications" else None
        with pytest.raises(SwitchUnreachable):
            await switch.apply(to_green(state))
        assert world.live() == "blue"
        world.api.resume()


async def test_an_owner_that_moves_between_read_and_write_is_read_again() -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        state, moves = await switch.read(), iter(range(3))

        def status_moves(asked: Asked) -> None:
            if asked.write and asked.plural == "applications" and next(moves, None) is not None:
                world.api.patch(
                    APPLICATIONS, "argocd", "trips", {"status": {"at": world.api.url + str(id(asked))}}
                )

        world.api.before = status_moves
        await switch.apply(to_green(state))
        assert world.live() == "green"
        assert world.owner()["spec"]["syncPolicy"].get("automated") is None


async def test_what_a_person_changes_between_read_and_write_is_what_is_restored() -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        state, his, moves = await switch.read(), {"prune": False, "selfHeal": True}, iter(range(1))

        def he_is_faster(asked: Asked) -> None:
            if asked.write and asked.plural == "applications" and next(moves, None) is not None:
                world.api.patch(APPLICATIONS, "argocd", "trips", {"spec": {"syncPolicy": {"automated": his}}})

        world.api.before = he_is_faster
        await switch.apply(to_green(state))
        await switch.resume("rb-1")
        assert world.owner()["spec"]["syncPolicy"]["automated"] == his


async def test_a_rollback_that_suspends_while_somebody_resumes_stays_suspended() -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        await switch.apply(to_green(await switch.read()))
        moves = iter(range(1))

        def another_rollback(asked: Asked) -> None:
            if asked.write and asked.plural == "applications" and next(moves, None) is not None:
                note = json.dumps({"rollback": "rb-2", "was": HEALS["syncPolicy"]["automated"]})
                world.api.patch(
                    APPLICATIONS, "argocd", "trips", {"metadata": {"annotations": {SUSPENDED: note}}}
                )

        world.api.before = another_rollback
        with pytest.raises(SwitchConflict, match="suspended by rb-2 meanwhile"):
            await switch.resume("rb-1")
        assert world.owner()["spec"]["syncPolicy"].get("automated") is None


async def test_who_may_turn_it_on_again_is_said() -> None:
    async with Kept.heal() as world:
        owner = {"kind": "ApplicationSet", "name": "fleet", "uid": "u", "controller": True}
        world.application(HEALS, ownerReferences=[owner])
        switch = switch_of(world)
        state = await switch.read()
        assert (
            state.managed_by == "Argo CD application argocd/trips (self-heal; kept by ApplicationSet fleet)"
        )
        state = await switch.apply(to_green(state))
        assert state.suspended is not None
        assert state.suspended.owner.endswith("which ApplicationSet fleet may turn on again")


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.DENY, SwitchRejected), (Fault.BREAK, SwitchUnknown), (Fault.CUT, SwitchUnknown)],
)
async def test_a_write_that_fails_after_the_suspend_says_how_to_resume(
    fault: Fault, error: type[Exception]
) -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        state = await switch.read()
        world.api.fault = lambda asked: fault if asked.write and asked.plural == "services" else None
        with pytest.raises(error, match=r"watchdog gitops resume trips$"):
            await switch.apply(to_green(state))


async def test_a_glance_believes_for_a_while_what_was_seen_of_an_owner_and_a_read_does_not() -> None:
    async with Kept.heal() as world:
        now = [0.0]
        owners = Owners(
            world.cluster,
            SERVICES,
            fields=lambda: ("/spec/selector/version",),
            timeout=timedelta(seconds=5),
            clock=Standing(now),
        )
        found = await Fresh(world.cluster, timeout=timedelta(seconds=5)).one(SERVICES, "prod", "trips")

        async def seen(*, fresh: bool) -> tuple[str | None, int]:
            before = len(world.api.asked)
            managed = await owners.look(found.metadata, fresh=fresh)
            return managed.managed_by, len(world.api.asked) - before

        healing = "Argo CD application argocd/trips (self-heal)"
        assert await seen(fresh=False) == (healing, 1)
        assert await seen(fresh=False) == (healing, 0)
        world.api.patch(APPLICATIONS, "argocd", "trips", {"spec": {"syncPolicy": {"automated": None}}})
        assert await seen(fresh=False) == (healing, 0)
        assert await seen(fresh=True) == (None, 1)
        world.api.patch(APPLICATIONS, "argocd", "trips", {"spec": HEALS})
        assert await seen(fresh=False) == (None, 0)
        now[0] = 61.0
        assert await seen(fresh=False) == (healing, 1)
        world.api.fault = lambda asked: Fault.BREAK
        assert "is unknown" in str((await seen(fresh=True))[0])
        world.api.resume()
        assert await seen(fresh=False) == (healing, 0), "a moment's fault is not remembered"


class Standing(SystemClock):
    """A clock that says what it is told."""

    def __init__(self, now: list[float]) -> None:
        self._now = now

    def monotonic(self) -> float:
        return self._now[0]


async def test_rights_name_the_owner_once_it_is_known() -> None:
    async with Kept.heal() as world:
        switch = switch_of(world)
        assert not any("applications" in str(right) for right in switch.rights)
        await switch.read()
        named = [str(right) for right in switch.rights if right.resource == "applications"]
        assert named == ["get applications.argoproj.io 'trips' in namespace argocd"]
        switch.expect_to_suspend()
        named = [right.verb for right in switch.rights if right.resource == "applications"]
        assert named == ["get", "patch"]


# Events


HAPPENED = Happening(
    service="trips",
    reason="RolledBack",
    grave=False,
    note="traffic moved back from v2 to v1",
    key="0123456789abcdef",
    at=datetime(2026, 3, 2, 10, 0, 0, 123, tzinfo=UTC),
)


async def test_an_event_is_written_once_about_the_object() -> None:
    async with Kept.open() as world:
        assert isinstance(world, Kept)
        switch = switch_of(world)
        await switch.announce(HAPPENED)
        await switch.announce(HAPPENED)
        found = world.api.get(EVENTS, "prod", "trips.watchdog-0123456789abcdef")
        assert found["type"] == "Normal"
        assert found["reason"] == "RolledBack"
        assert found["reportingController"] == "rollback-watchdog"
        assert found["eventTime"] == "2026-03-02T10:00:00.000123Z"
        assert found["regarding"]["uid"] == world.get(SERVICES, "trips")["metadata"]["uid"]
        assert len(world.api.all(EVENTS, "prod")) == 1


@pytest.mark.parametrize(("fault", "error"), [(Fault.DENY, SwitchRejected), (Fault.BREAK, SwitchUnreachable)])
async def test_an_event_that_cannot_be_written_says_whether_to_try_again(
    fault: Fault, error: type[Exception]
) -> None:
    async with Kept.open() as world:
        assert isinstance(world, Kept)
        world.api.fault = lambda asked: fault if asked.plural == "events" else None
        with pytest.raises(error):
            await switch_of(world).announce(HAPPENED)
