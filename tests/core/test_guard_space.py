"""Each guard over the whole space of what it may look at, against the design's own words (§7), and nothing else.

`WORDS` says once more, in other words than the code, when each guard says no. Where the two differ, one of them is
wrong.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.core.scenario import MINUTE, T0
from tests.core.series import ALWAYS_THE_SAME
from tests.core.test_guards import FREE
from watchdog.core.guards import BEFORE_WRITE, GUARDS, READINESS, GuardFacts, ask
from watchdog.core.rule import Level
from watchdog.core.service import GitOps, Mode, RollbackPolicy

SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)


def ages(*around: timedelta) -> list[timedelta]:
    """Ages at, right before and right after each of these, and none."""
    return [timedelta(), *(one + by for one in around for by in (-TICK, timedelta(), TICK))]


def policies(**values: list[Any]) -> list[RollbackPolicy]:
    return [
        RollbackPolicy(**dict(zip(values, chosen, strict=True)))
        for chosen in itertools.product(*values.values())
    ]


LEVELS: list[Level | None] = [None, *Level]
BAD_LEVELS = (Level.CRITICAL, Level.ROLLBACK)
#: What each guard may look at, with every value that makes a difference, and its neighbours.
SPACE: dict[str, dict[str, list[Any]]] = {
    "mode": {"mode": list(Mode), "approved": [False, True]},
    "paused": {"paused": ["", "the pause file exists", "paused by alice"]},
    "leader": {"leader": [False, True]},
    "armed": {
        "armed": [False, True],
        "started_at": [None, *(T0 - age for age in ages(60 * MINUTE, MINUTE)), T0 + MINUTE],
        "policy": policies(armed_for=[60 * MINUTE, MINUTE]),
    },
    "known_good_target": {
        "forbidden": [False, True],
        "target_problem": ["", "tainted", "not_stable", "target_changed"],
        "target_detail": ["", "v1 burns"],
        "target_variant": ["", "blue"],
    },
    "target_ready": {
        "target_variant": ["", "blue"],
        "target_ready": [None, 0, 1, 2, 3, 7, 8, 9, 10],
        "live_capacity": [None, 0, 1, 3, 9, 10, 11],
        "target_note": ["", "no checks"],
        "policy": policies(min_ready=[0.0, 0.1, 0.7, 0.8, 1.0]),
    },
    "still_live": {"from_live": [False, True], "attributable": [False, True], "from_version": ["", "v2"]},
    "not_already_bad": {"known_before": LEVELS, "previous_bad": ["", "v1"]},
    "cooldown": {
        "switched_at": [None, *(T0 - age for age in ages(15 * MINUTE, MINUTE)), T0 + MINUTE],
        "policy": policies(cooldown=[timedelta(), MINUTE, 15 * MINUTE]),
    },
    "max_per_day": {"rollbacks_today": [0, 1, 2, 3], "policy": policies(max_per_day=[0, 1, 2, 3])},
    "breaker": {
        "recent_rollbacks": [0, 2, 3, 4],
        "max_rollbacks": [1, 3],
        "breaching": [0, 2, 3, 4, 5, 6],
        "services": [0, 5, 10, 17, 20],
        "max_share": [0.0, 0.3, 1.0],
        "max_share_at_least": [0, 1, 5],
    },
    "confirmed": {
        "policy": policies(confirm=[(), ("latency",), ("latency", "healthy")]),
        "confirming": [
            {name: level for name, level in (("latency", one), ("healthy", other)) if level is not None}
            for one, other in itertools.product(LEVELS, LEVELS)
        ],
    },
    "backtested": {
        "mode": list(Mode),
        "approved": [False, True],
        "unproven": ["", "never_backtested", "changed_since"],
    },
    "unmanaged": {"managed_by": [None, "", "Argo CD", "Flux"], "gitops": list(GitOps)},
}


def _mode(facts: GuardFacts) -> str:
    return {
        (Mode.OBSERVE, False): "observe",
        (Mode.OBSERVE, True): "observe",
        (Mode.APPROVE, False): "not_approved",
    }.get((facts.mode, facts.approved), "")


def _armed(facts: GuardFacts) -> str:
    if facts.started_at is None or facts.armed is False:
        return "not_armed"
    age = facts.now - facts.started_at
    return "" if age <= facts.policy.armed_for else "too_late"


def _known_good(facts: GuardFacts) -> str:
    if facts.forbidden:
        return "forbidden"
    return facts.target_problem or ("" if facts.target_variant else "no_variant")


def _ready(facts: GuardFacts) -> str:
    """Exactly, in fractions of what is written: 80 % of 10 is 8, of 11 it is 9; never less than one."""
    if not facts.target_variant:
        return "no_target"
    if facts.target_ready is None:
        return "unknown"
    share = Fraction(str(facts.policy.min_ready))
    wanted = max(1, math.ceil(share * (facts.live_capacity or 1)))
    return "not_ready" if wanted > facts.target_ready else ""


def _live(facts: GuardFacts) -> str:
    return "not_live" if not facts.from_live else "" if facts.attributable else "not_attributable"


def _not_already_bad(facts: GuardFacts) -> str:
    if facts.known_before is None:
        return "no_baseline"
    if facts.known_before in BAD_LEVELS:
        return "already_bad"
    return "previous_bad_too" if facts.previous_bad else ""


def _cooldown(facts: GuardFacts) -> str:
    if facts.switched_at is None:
        return ""
    return "too_soon" if facts.now - facts.switched_at < facts.policy.cooldown else ""


def _breaker(facts: GuardFacts) -> str:
    if not facts.recent_rollbacks < facts.max_rollbacks:
        return "too_many_rollbacks"
    share_is_beyond = facts.services > 0 and Fraction(facts.breaching, facts.services) > Fraction(
        str(facts.max_share)
    )
    return "too_much_red" if share_is_beyond and not facts.breaching < facts.max_share_at_least else ""


def _confirmed(facts: GuardFacts) -> str:
    warning = {Level.WARNING, Level.CRITICAL, Level.ROLLBACK}
    if facts.policy.confirm == () or warning & set(facts.confirming.values()):
        return ""
    return "not_confirmed"


WORDS: dict[str, Callable[[GuardFacts], str]] = {
    "mode": _mode,
    "paused": lambda facts: "paused" if facts.paused else "",
    "leader": lambda facts: "" if facts.leader is True else "not_leader",
    "armed": _armed,
    "known_good_target": _known_good,
    "target_ready": _ready,
    "still_live": _live,
    "not_already_bad": _not_already_bad,
    "cooldown": _cooldown,
    "max_per_day": lambda facts: "" if facts.rollbacks_today < facts.policy.max_per_day else "used_up",
    "breaker": _breaker,
    "confirmed": _confirmed,
    "backtested": lambda facts: "" if facts.approved or facts.mode is Mode.APPROVE else facts.unproven,
    "unmanaged": lambda facts: "managed" if facts.managed_by and facts.gitops is GitOps.VETO else "",
}
#: The normative list of design §7 once more, and the guard of back-tests.
PEOPLE_SKIP = {
    *("mode", "armed", "cooldown", "max_per_day", "breaker", "confirmed", "not_already_bad"),
    "backtested",
}


def said(facts: GuardFacts, guard: str) -> str:
    veto = GUARDS[guard](facts)
    if veto is None:
        return ""
    assert veto.guard == guard, "a veto names its guard"
    assert veto.reason, "a veto has a word for programs"
    assert veto.detail, "and a sentence for people"
    return veto.reason


def test_every_guard_has_a_space_and_words() -> None:
    assert list(SPACE) == list(WORDS) == list(GUARDS)


@pytest.mark.parametrize("guard", list(GUARDS))
def test_a_guard_says_no_exactly_where_the_design_says_so(guard: str) -> None:
    space, seen = SPACE[guard], set()
    for chosen in itertools.product(*space.values()):
        facts = replace(FREE, **dict(zip(space, chosen, strict=True)))
        expected = WORDS[guard](facts)
        assert said(facts, guard) == expected, dict(zip(space, chosen, strict=True))
        seen.add(expected)
    assert "" in seen, "there is a way through"
    assert len(seen) > 1, "and a no"


def any_facts() -> st.SearchStrategy[GuardFacts]:
    """Facts with any of the values that make a difference to any guard."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for space in SPACE.values():
        fields |= {name: st.sampled_from(values) for name, values in space.items() if name != "policy"}
    policy = st.builds(
        RollbackPolicy,
        armed_for=st.sampled_from([MINUTE, 60 * MINUTE]),
        min_ready=st.sampled_from([0.0, 0.8, 1.0]),
        cooldown=st.sampled_from([timedelta(), 15 * MINUTE]),
        max_per_day=st.sampled_from([0, 1, 2]),
        confirm=st.sampled_from([(), ("latency",)]),
    )
    return st.builds(lambda **chosen: replace(FREE, **chosen), policy=policy, **fields)


@given(any_facts(), st.booleans())
@settings(ALWAYS_THE_SAME, max_examples=150)
def test_of_any_facts_the_guards_that_say_no_are_heard_each_once_in_order_and_people_skip_eight(
    facts: GuardFacts, automatic: bool
) -> None:
    facts = replace(facts, automatic=automatic)
    asked = [name for name in GUARDS if automatic or name not in PEOPLE_SKIP]
    expected = [(name, word) for name in asked if (word := WORDS[name](facts))]
    assert [(veto.guard, veto.reason) for veto in ask(facts)] == expected
    for names in (BEFORE_WRITE, READINESS):
        heard = [(veto.guard, veto.reason) for veto in ask(facts, names)]
        assert heard == [one for one in expected if one[0] in names]


@given(any_facts(), any_facts(), st.sampled_from(list(GUARDS)))
@settings(ALWAYS_THE_SAME, max_examples=150)
def test_a_guard_looks_at_its_own_facts_and_at_nothing_else(
    facts: GuardFacts, others: GuardFacts, guard: str
) -> None:
    own = {name: getattr(facts, name) for name in (*SPACE[guard], "policy")}
    assert said(replace(others, **own), guard) == said(facts, guard)


def test_no_person_gets_past_what_protects_people() -> None:
    for guard in ("paused", "leader", "still_live", "target_ready", "known_good_target", "unmanaged"):
        space = SPACE[guard]
        for chosen in itertools.product(*space.values()):
            facts = replace(FREE, automatic=False, **dict(zip(space, chosen, strict=True)))
            assert [veto.reason for veto in ask(facts, (guard,))] == [
                word for word in [WORDS[guard](facts)] if word
            ]
