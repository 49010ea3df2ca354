"""A deployment, or a person, in the middle of a rollback: at every step the newer word wins and the record is right."""

from __future__ import annotations

import pytest

from tests.core.interrupted import STEPS, Interrupted, at, go_on
from watchdog.core.deployment import Deployment, DeploymentState
from watchdog.core.message import MessageKind
from watchdog.core.request import RequestKind
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.rule import Severity

#: One letter for each of `STEPS`, in their order: how the rollback ended.
LETTERS = {
    "a": RollbackState.AWAITING_APPROVAL,
    "b": RollbackState.BLOCKED,
    "c": RollbackState.COMPLETED,
    "s": RollbackState.SUPERSEDED,
    "x": RollbackState.CONTESTED,
}
OURS = ("green v2", "blue v1")
#: v3 by how it becomes known, where it goes, and whether what is live stays beside it; for switches that tell versions.
#: Only announced: a rollback from v2 goes on, but not to a variant where v3 is awaited.
TELLING = {
    ("posted", "green", "alone"): "cacccccccc",
    ("posted", "blue", "alone"): "babbcccccc",
    ("posted", "red", "alone"): "cacccccccc",
    ("seen", "green", "alone"): "ssssssssss",
    ("seen", "green", "beside"): "ssssssssss",
    ("seen", "blue", "alone"): "ssssssssss",
    ("seen", "blue", "beside"): "bassssssss",
    ("seen", "red", "alone"): "ssssssssss",
    ("seen", "red", "beside"): "sassssssss",
    ("both", "green", "alone"): "ssssssssss",
    ("both", "green", "beside"): "ssssssssss",
    ("both", "blue", "alone"): "ssssssssss",
    ("both", "blue", "beside"): "basbssssss",
    ("both", "red", "alone"): "ssssssssss",
    ("both", "red", "beside"): "sassssssss",
}
#: The same where the switch tells no versions. Announced for what is live, v3 is there; what nobody announced on a
#: variant that is live already, nobody can see; elsewhere it is taken for the version that was there before.
SILENT = {
    ("posted", "green", "alone"): "sssscccccc",
    ("posted", "blue", "alone"): "babbssssss",
    ("posted", "red", "alone"): "cacccccccc",
    ("seen", "red", "alone"): "ssssssssss",
    ("both", "green", "alone"): "ssssssssss",
    ("both", "green", "beside"): "ssssssssss",
    ("both", "blue", "alone"): "ssssssssss",
    ("both", "blue", "beside"): "basbssssss",
    ("both", "red", "alone"): "ssssssssss",
    ("both", "red", "beside"): "sassssssss",
}
ARRIVALS = [
    (telling, *how, step, LETTERS[letter])
    for telling, rows in ((True, TELLING), (False, SILENT))
    for how, letters in rows.items()
    for step, letter in zip(STEPS, letters, strict=True)
]
#: What a person does meanwhile. Before the write his word stops it; after it, the switch is in place already, and is
#: contested where he undoes it. To the bad version and back before anybody looks is as if nothing had happened.
PEOPLE = {
    "to the target": "sssscccccc",
    "to a third": "ssssssssss",
    "in part": "cassxxxxxx",
    "back": "caccxxxxxx",
    "there and back": "ssccxxxxxx",
    "ack": "cacccccccc",
    "close": "cacccccccc",
    "taint the target": "babbcccccc",
    "pause": "babbcccccc",
    "pause file": "babbcccccc",
}

MOVES = ("to the target", "to a third", "in part", "back", "there and back")


def arrive(story: Interrupted, how: str, where: str, beside: str) -> None:
    if how in ("posted", "both"):
        assert story.post("v3", where).status == 201
    if how == "both":
        story.after("5s")
    if how in ("seen", "both"):
        story.carries[where] = "v3"
        kept = {name: weight for name, weight in story.live.items() if weight and beside == "beside"}
        story.move(**{**kept, where: 1})


def of_version(story: Interrupted, version: str) -> Deployment:
    found = [one for one in story.service.deployments.values() if one.version == version]
    assert found, f"{version} is not known"
    return found[-1]


def never_wrong(story: Interrupted, rollback: Rollback) -> None:
    """What holds however it went."""
    assert story.writes in ([], [OURS]), "only v2 is ever taken away, only v1 is ever gone back to, and once"
    assert rollback.switched is bool(story.writes)
    traffic = story.service.traffic
    assert traffic is not None
    assert set(traffic.live) == {name for name, weight in story.live.items() if weight}
    bad = [one for one in story.service.deployments.values() if one.id == rollback.deployment]
    assert all((one.state is DeploymentState.ROLLED_BACK) is bool(story.writes) for one in bad)
    ended = [one for one in story.messages if one.kind is MessageKind.ROLLBACK_ENDED]
    done = [one for one in story.messages if one.kind is MessageKind.ROLLBACK_COMPLETED]
    assert len(ended) + len(done) == rollback.over, [one.headline for one in (*ended, *done)]
    assert all(one.rollback == rollback.id for one in (*ended, *done))
    if rollback.state is RollbackState.SUPERSEDED:
        assert (ended[0].needs_human, ended[0].severity) == (False, Severity.MEDIUM)


@pytest.mark.parametrize(("telling", "how", "where", "beside", "step", "end"), ARRIVALS)
def test_a_deployment_at_any_step_of_a_rollback_is_never_taken_for_the_bad_one(
    telling: bool, how: str, where: str, beside: str, step: str, end: RollbackState
) -> None:
    story = at(step, telling=telling)
    (rollback,) = story.service.rollbacks.values()
    arrive(story, how, where, beside)
    go_on(story, step)
    rollback = story.service.rollbacks[rollback.id]
    assert rollback.state is end, [passage.why for passage in rollback.history]
    never_wrong(story, rollback)
    if how == "posted":
        assert of_version(story, "v3").state in (DeploymentState.PENDING, DeploymentState.WATCHING)
        return
    assert story.live[where], "traffic was taken from the newer version"
    if telling or how == "both":
        newest = of_version(story, "v3")
        assert (newest.variant, newest.state, newest.armed) == (where, DeploymentState.WATCHING, True)


def act(story: Interrupted, what: str) -> None:
    """A person does something."""
    match what:
        case "to the target":
            story.move(blue=1)
        case "to a third":
            story.move(red=1)
        case "in part":
            story.move(blue=1, green=1)
        case "back":
            story.move(green=1)
        case "there and back":
            story.move(blue=1)
            story.look().after("1s")
            story.move(green=1)
        case "ack" | "close":
            kind = RequestKind.ACKNOWLEDGE if what == "ack" else RequestKind.CLOSE
            assert story.ask(kind, story.incident.id).status == 200
        case "taint the target":
            assert story.ask(RequestKind.TAINT, version="v1", reason="it leaks").status == 200
        case "pause":
            assert story.ask(RequestKind.PAUSE, reason="we are looking").status == 200
        case _:
            story.pause_file = "the pause file exists"


@pytest.mark.parametrize(
    ("what", "step", "end", "telling"),
    [
        (what, step, LETTERS[letter], telling)
        for telling in (True, False)
        for what, letters in PEOPLE.items()
        for step, letter in zip(STEPS, letters, strict=True)
        if telling or what in MOVES  # nothing else depends on it
    ],
)
def test_a_person_at_any_step_of_a_rollback_has_the_last_word(
    what: str, step: str, end: RollbackState, telling: bool
) -> None:
    story = at(step, telling=telling)
    (rollback,) = story.service.rollbacks.values()
    before = list(story.writes)
    act(story, what)
    wished = dict(story.live)
    go_on(story, step)
    rollback = story.service.rollbacks[rollback.id]
    assert rollback.state is end, [passage.why for passage in rollback.history]
    never_wrong(story, rollback)
    if end is not RollbackState.COMPLETED or before:
        assert story.live == wished, "moved after a person's word"
        assert story.writes == before
    if end is RollbackState.CONTESTED:
        (message,) = [one for one in story.messages if one.kind is MessageKind.ROLLBACK_ENDED]
        assert message.needs_human
        assert MessageKind.ROLLBACK_BLOCKED not in story.told, "people know that it was undone"


@pytest.mark.parametrize("step", ["intended, before the read", "between read and write"])
def test_a_pause_that_is_lifted_lets_it_go_on(step: str) -> None:
    story = at(step, telling=True)
    act(story, "pause")
    go_on(story, step)
    story.rollback_is(RollbackState.BLOCKED)
    story.ask(RequestKind.RESUME)
    story.live_for("4m")
    story.rollback_is(RollbackState.COMPLETED)
    assert story.writes == [OURS]


def test_an_approval_that_comes_after_the_world_moved_on_is_refused() -> None:
    for how in (("seen", "red", "alone"), ("both", "green", "alone"), ("posted", "blue", "alone")):
        story = at("awaiting approval", telling=True)
        incident = story.incident.id
        arrive(story, *how)
        story.after("1s").look()
        assert story.ask(RequestKind.APPROVE, incident).status in (404, 409), how
        go_on(story, "awaiting approval")
        assert story.writes == []
