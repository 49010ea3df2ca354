"""Escalations, mute windows, reports, templates, the heartbeat, and the routes that name them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.config.conftest import Draft
from watchdog.config.trail import Trail
from watchdog.core.climbing import ladder
from watchdog.core.ladder import Policy, ReportTime, Step
from watchdog.core.mute import MuteWindow
from watchdog.core.routing import Gather, Route
from watchdog.core.rule import Severity

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OLD = "channels:\n  log: {kind: log}\nroutes:\n  - {to: [log]}\n"
#: Line 14 of the file and those behind it; what a test adds begins in line 19.
CHANNELS = """channels:
  ops: {kind: log}
  mail: {kind: log}
  lead: {kind: pager}
  oncall: {kind: desk}
"""


def telling(draft: Draft, text: str, routes: str = "routes: [{escalation: p}]\n") -> Draft:
    return draft.replace(OLD, f"{CHANNELS}{text}\n{routes}")


def step(*to: str, after: timedelta = timedelta(), digest: ReportTime | None = None) -> Step:
    return Step(to=to, after=after, digest=digest)


def test_a_policy_is_what_is_written(draft: Draft) -> None:
    telling(
        draft,
        """reports: {weekly: {day: tue, at: "08:30", zone: Asia/Seoul}}
escalations:
  p:
    critical: [{to: [oncall, ops]}, {after: 5m, to: [lead]}, {after: 1h, to: [mail, lead]}]
    high: [{to: [ops, mail]}, {after: 15m, to: [lead]}]
    medium: [{to: [ops]}, {after: 1h, to: [mail]}]
    low: [{to: [mail]}, {after: 24h, digest: weekly}]
    repeat: 2h
    acknowledged: {for: ever, remind: never}
    delegate: desk""",
    )
    weekly = ReportTime(weekday=1, minute=510, zone="Asia/Seoul")
    policy = Policy(
        name="p",
        ladders={
            Severity.CRITICAL: (
                step("oncall", "ops"),
                step("lead", after=5 * MINUTE),
                step("mail", "lead", after=HOUR),
            ),
            Severity.HIGH: (step("ops", "mail"), step("lead", after=15 * MINUTE)),
            Severity.MEDIUM: (step("ops"), step("mail", after=HOUR)),
            Severity.LOW: (step("mail"), step("mail", after=24 * HOUR, digest=weekly)),
        },
        repeat_after=2 * HOUR,
        acknowledged_for=None,
        remind_after=None,
        delegate=("oncall",),
    )

    loaded = draft.load()

    assert loaded.escalations == {"p": policy}
    assert loaded.routes == (Route(policy=policy),)
    assert draft.notes() == []


def test_what_a_policy_does_not_say_has_the_defaults_of_the_core(draft: Draft) -> None:
    telling(draft, "escalations: {p: {critical: [{to: [ops]}]}}")

    policy = draft.load().escalations["p"]

    assert policy == Policy(name="p", ladders=policy.ladders)
    assert policy.repeat_after == 4 * HOUR
    assert policy.acknowledged_for == 8 * HOUR
    assert policy.remind_after == HOUR


def test_nothing_is_repeated_where_it_says_never(draft: Draft) -> None:
    telling(draft, "escalations: {p: {critical: [{to: [ops]}], repeat: never}}")

    assert draft.load().escalations["p"].repeat_after is None


def test_a_severity_without_a_ladder_has_that_of_the_next_louder_one_else_of_the_next_quieter(
    draft: Draft,
) -> None:
    telling(draft, "escalations: {p: {high: [{to: [ops]}], low: [{to: [mail]}]}}")

    policy = draft.load().escalations["p"]

    assert policy.ladders.keys() == {Severity.HIGH, Severity.LOW}
    assert [ladder(policy, one)[0].to for one in reversed(Severity)] == [
        ("ops",),
        ("ops",),
        ("ops",),
        ("mail",),
    ]
    assert draft.notes() == [
        "watchdog.yaml:17:3: no route goes to channel 'lead'",
        "watchdog.yaml:18:3: no route goes to channel 'oncall'",
        "watchdog.yaml:19:18: policy 'p' has no ladder for critical: that for high is used",
        "watchdog.yaml:19:18: policy 'p' has no ladder for medium: that for high is used",
    ]


def test_a_ladder_may_be_nothing_but_a_report(draft: Draft) -> None:
    telling(draft, "escalations: {p: {low: [{to: [mail], digest: weekly}], high: [{to: [ops]}]}}")

    assert draft.load().escalations["p"].ladders[Severity.LOW] == (step("mail", digest=ReportTime()),)


def test_a_report_goes_to_those_of_the_first_step_whom_it_does_not_wake(draft: Draft) -> None:
    telling(
        draft,
        "escalations: {p: {low: [{to: [oncall, mail]}, {after: 1h, digest: weekly}], high: [{to: [ops]}]}}",
    )

    assert draft.load().escalations["p"].ladders[Severity.LOW][1] == step(
        "mail", after=HOUR, digest=ReportTime()
    )


@pytest.mark.parametrize(
    ("delegate", "owners"),
    [
        ("oncall", ("oncall",)),
        ("[oncall]", ("oncall",)),
        ("desk", ("oncall",)),
        ("[desk, oncall, lead]", ("oncall", "lead")),
    ],
)
def test_a_ladder_is_delegated_to_a_channel_or_to_all_of_a_kind(
    draft: Draft, delegate: str, owners: tuple[str, ...]
) -> None:
    telling(
        draft, f"escalations: {{p: {{critical: [{{to: [oncall, lead, ops, mail]}}], delegate: {delegate}}}}}"
    )

    assert draft.load().escalations["p"].delegate == owners


@pytest.mark.parametrize(
    ("written", "window"),
    [
        (
            '{zone: Europe/Berlin, from: "22:00", to: "07:00", days: [mon-fri]}',
            MuteWindow(name="w", zone="Europe/Berlin", start=1320, end=420, days=(0, 1, 2, 3, 4)),
        ),
        (
            '{zone: UTC, from: "08:15", to: "24:00", days: [Sunday, fri-mon]}',
            MuteWindow(name="w", zone="UTC", start=495, end=1440, days=(0, 4, 5, 6)),
        ),
        ("{zone: Asia/Seoul, days: [sat, sun]}", MuteWindow(name="w", zone="Asia/Seoul", days=(5, 6))),
        (
            '{zone: UTC, from: "09:00", to: "09:00", days: [wednesday]}',
            MuteWindow(name="w", zone="UTC", start=540, end=540, days=(2,)),
        ),
        (
            '{zone: UTC, from: "00:00", to: "00:01"}',
            MuteWindow(name="w", zone="UTC", start=0, end=1),
        ),
    ],
)
def test_a_mute_window_is_what_is_written(draft: Draft, written: str, window: MuteWindow) -> None:
    draft.replace("  - {to: [log]}\n", "  - {to: [log], mute: [w]}\n")
    draft.insert(f"mute_windows: {{w: {written}}}\n")

    assert draft.load().routes == (Route(to=("log",), mutes=(window,)),)
    assert draft.notes() == []


def test_a_route_says_notices_and_gathering_and_repeats(draft: Draft) -> None:
    routes = (
        "routes:\n"
        "  - {match: {team: booking}, to: [ops], notices: [mail, oncall], repeat: never,\n"
        "     gather: {by: [label.team, service, team], wait: 10s, interval: 1h}}\n"
        "  - {to: [lead], gather: {}, repeat: 30m}\n"
    )
    telling(draft, "", routes)

    assert draft.load().routes == (
        Route(
            match={"team": "booking"},
            to=("ops",),
            notices=("mail", "oncall"),
            gather=Gather(
                by=("team", "service"), wait=timedelta(seconds=10), interval=HOUR, apart=("oncall",)
            ),
            repeat_after=None,
        ),
        Route(to=("lead",), gather=Gather(apart=("lead",)), repeat_after=30 * MINUTE),
    )
    assert draft.notes() == []


def test_the_heartbeat_has_an_address_that_nothing_shows(draft: Draft) -> None:
    draft.insert('heartbeat: {url: "https://hc.example.com/ping/7f3a", every: 30s}\n')

    found = draft.load().heartbeat

    assert found is not None
    assert found.url.get_secret_value() == "https://hc.example.com/ping/7f3a"
    assert (found.every, found.timeout, found.ca_file) == (timedelta(seconds=30), timedelta(seconds=5), None)
    assert "7f3a" not in f"{found!r} {found} {found.model_dump_json()}"


def test_the_heartbeats_address_may_be_a_secret(draft: Draft) -> None:
    draft.environ["PING"] = "https://hc.example.com/ping/7f3a"
    draft.insert("heartbeat: {url: !env PING}\n")

    found = draft.load(draft.environ).heartbeat

    assert found is not None
    assert found.url.get_secret_value() == draft.environ["PING"]


def test_a_bad_address_of_a_heartbeat_is_not_repeated(draft: Draft) -> None:
    draft.environ["PING"] = "hc.example.com/ping/7f3a"
    draft.insert("heartbeat: {url: !env PING}\n")

    (problem,) = draft.problems()

    assert "7f3a" not in problem


def test_the_address_people_reach_the_server_at_is_known(draft: Draft) -> None:
    draft.insert("server: {url: https://watchdog.example.com}\n")

    assert draft.load().server.url == "https://watchdog.example.com"


def test_a_rule_names_a_dashboard_beside_its_runbook(draft: Draft) -> None:
    before = draft.load().rules["error-rate"]
    draft.rules = draft.rules.replace(
        "  - name: error-rate\n", "  - name: error-rate\n    dashboard: https://grafana.example.com/d/trips\n"
    )

    after = draft.load().rules["error-rate"]

    assert before.dashboard is None
    assert after.dashboard == "https://grafana.example.com/d/trips"
    assert after.question == before.question


def test_templates_are_read_and_remembered_by_the_trail(draft: Draft) -> None:
    (draft.folder / "headline.j2").write_text("{{ headline }}\n")
    draft.insert("templates: {headline: headline.j2}\n")

    loaded = draft.load()

    assert loaded.templates == {"headline": "{{ headline }}\n"}
    assert isinstance(loaded.trail, Trail)
    assert loaded.trail.mark(draft.folder / "headline.j2")
    assert loaded.trail.again() == loaded.trail
    (draft.folder / "headline.j2").write_text("another\n")
    assert loaded.trail.again() != loaded.trail


def test_every_mistake_of_every_template_is_told_in_its_file(draft: Draft) -> None:
    (draft.folder / "headline.j2").write_text("ok\n{% if %}\n")
    (draft.folder / "text.j2").write_text("\n\n{{ nothing.known }}\n")
    draft.insert("templates: {headline: headline.j2, text: text.j2, html: missing.j2}\n")

    said = draft.problems()

    assert [it.rpartition(": ")[0].partition(": ")[0] for it in said[:2]] == [
        "headline.j2:2:1",
        "text.j2:3:1",
    ]
    assert said[2].startswith("watchdog.yaml:18:57: ")
    assert said[2].endswith("missing.j2 cannot be read: No such file or directory")


def test_a_template_that_is_no_text_is_refused(draft: Draft) -> None:
    (draft.folder / "a.j2").write_bytes(b"\xff\xfe")
    (draft.folder / "b.j2").write_text("x" * (256 * 1024 + 1))
    draft.insert("templates: {headline: a.j2, text: b.j2, short: .}\n")

    assert [it.rpartition("/")[2] for it in draft.problems()] == [
        "a.j2 is not text in UTF-8",
        "b.j2 is larger than 256 KiB",
        f"{draft.folder.name} is not a regular file",
    ]


#: What is written behind the channels (from line 19 on), and everything that is said of it.
BAD: dict[str, tuple[str, list[str]]] = {
    "unknown channel": (
        "escalations: {p: {critical: [{to: [opps]}, {after: 5m, to: [maill, lead]}]}}",
        [
            "19:36: unknown channel 'opps'; did you mean 'ops'? (known: lead, mail, oncall, ops)",
            "19:61: unknown channel 'maill'; did you mean 'mail'? (known: lead, mail, oncall, ops)",
        ],
    ),
    "unknown severity": (
        "escalations: {p: {critcal: [{to: [ops]}]}}",
        ["19:19: unknown key 'critcal'; did you mean 'critical'?"],
    ),
    "severity like none": (
        "escalations: {p: {critical: [{to: [ops]}], zzz: [{to: [ops]}]}}",
        [
            "19:44: unknown key 'zzz'; known: acknowledged, critical, delegate, high, low, medium, repeat",
        ],
    ),
    "first step with after": (
        "escalations: {p: {critical: [{after: 5m, to: [ops]}]}}",
        ["19:31: the first step tells people at once: leave `after` out"],
    ),
    "first step is a digest for nobody": (
        "escalations: {p: {low: [{digest: weekly}]}}",
        ["19:25: missing key 'to': a list of channels"],
    ),
    "later step without after": (
        "escalations: {p: {critical: [{to: [ops]}, {to: [mail]}]}}",
        ["19:43: missing key 'after': how long after the first step"],
    ),
    "steps not rising": (
        "escalations: {p: {critical: [{to: [ops]}, {after: 1h, to: [mail]}, {after: 5m, to: [lead]}]}}",
        ["19:76: 5m is not later than the step before it (1h)"],
    ),
    "steps at once": (
        "escalations: {p: {critical: [{to: [ops]}, {after: 1h, to: [mail]}, {after: 60m, to: [lead]}]}}",
        ["19:76: 1h is not later than the step before it (1h)"],
    ),
    "step after nothing": (
        "escalations: {p: {critical: [{to: [ops]}, {after: 0s, to: [mail]}]}}",
        ["19:51: '0s' is out of range: more than 0s is needed"],
    ),
    "step without unit": (
        "escalations: {p: {critical: [{to: [ops]}, {after: 5, to: [maill]}]}}",
        [
            "19:51: '5' is not a duration; write a number with a unit such as 30s, 5m, 1h or 500ms",
            "19:59: unknown channel 'maill'; did you mean 'mail'? (known: lead, mail, oncall, ops)",
        ],
    ),
    "first step to nobody": (
        "escalations: {p: {critical: [{}]}}",
        ["19:30: missing key 'to': a list of channels"],
    ),
    "step without to and digest": (
        "escalations: {p: {critical: [{to: [ops]}, {after: 5m}]}}",
        ["19:43: missing key 'to': a list of channels, or `digest: weekly`"],
    ),
    "step to an empty list": (
        "escalations: {p: {critical: [{to: []}]}}",
        ["19:35: an empty list tells nobody; name at least one channel"],
    ),
    "step to one word": (
        "escalations: {p: {critical: [{to: ops}]}}",
        ["19:35: expected a list, found 'ops'"],
    ),
    "digest of another kind": (
        "escalations: {p: {low: [{to: [mail]}, {after: 24h, digest: weekli}]}}",
        ["19:60: 'weekli' is not one of weekly; did you mean 'weekly'?"],
    ),
    "digest not last": (
        "escalations: {p: {low: [{to: [mail]}, {after: 1h, digest: weekly}, {after: 2h, to: [ops]}]}}",
        ["19:51: what waits for the report waits for nothing else: the last step only"],
    ),
    "digest that pages": (
        "escalations: {p: {low: [{to: [mail]}, {after: 1h, digest: weekly, to: [lead]}]}}",
        ["19:72: 'lead' (pager) wakes people, and reports never do"],
    ),
    "digest for pagers only": (
        "escalations: {p: {low: [{to: [lead]}, {after: 1h, digest: weekly}]}}",
        [
            "19:51: the first step has only channels that wake people, and reports never do: name others in `to`"
        ],
    ),
    "empty ladder": (
        "escalations: {p: {critical: []}}",
        ["19:29: an empty ladder tells nobody; write at least [{to: [CHANNEL]}]"],
    ),
    "policy without ladders": (
        "escalations: {p: {repeat: 4h}}",
        ["19:18: no ladder: write at least `critical: [{to: [CHANNEL]}]`"],
    ),
    "policy that is a list": ("escalations: {p: [ops]}", ["19:18: expected a mapping, found a list"]),
    "ladder that is a mapping": (
        "escalations: {p: {critical: {to: [ops]}}}",
        ["19:29: expected a list, found a mapping"],
    ),
    "step that is a word": (
        "escalations: {p: {critical: [ops]}}",
        ["19:30: expected a mapping, found 'ops'"],
    ),
    "name of a policy": (
        "escalations: {p: {critical: [{to: [ops]}]}, a b: {critical: [{to: [ops]}]}}",
        ["19:45: 'a b' is not a name: letters, digits, '_', '-' and '.', none of '-.' first"],
    ),
    "repeat": (
        "escalations: {p: {critical: [{to: [ops]}], repeat: nver}}",
        ["19:52: 'nver' is neither a duration such as 4h nor 'never'"],
    ),
    "repeat at once": (
        "escalations: {p: {critical: [{to: [ops]}], repeat: 0s}}",
        ["19:52: '0s' is neither a duration such as 4h nor 'never'"],
    ),
    "acknowledged": (
        "escalations: {p: {critical: [{to: [ops]}], acknowledged: {for: never, remindd: 1h}}}",
        [
            "19:64: 'never' is neither a duration such as 4h nor 'ever'",
            "19:71: unknown key 'remindd'; did you mean 'remind'?",
        ],
    ),
    "delegate to nobody": (
        "escalations: {p: {critical: [{to: [oncall, ops]}], delegate: oncal}}",
        [
            (
                "19:62: unknown channel or kind of channel in this policy 'oncal'; did you mean 'oncall'? "
                "(known: desk, log, oncall, ops)"
            )
        ],
    ),
    "delegate behind the first step": (
        "escalations: {p: {critical: [{to: [ops]}, {after: 5m, to: [oncall]}], delegate: [ops, desk]}}",
        ["19:87: 'desk' is in no first step, so it never has anything to take over"],
    ),
    "delegate to a stranger": (
        "escalations: {p: {critical: [{to: [ops]}], delegate: mail}}",
        ["19:54: 'mail' is in no first step, so it never has anything to take over"],
    ),
    "escalations that is a list": (
        "escalations: [p]",
        ["19:14: expected a mapping, found a list", "20:23: unknown escalation policy 'p' (none is defined)"],
    ),
}

#: The routes (from line 19 on), and everything that is said of them.
BAD_ROUTES: dict[str, tuple[str, list[str]]] = {
    "unknown policy": (
        "escalations: {prod: {critical: [{to: [ops]}]}}\nroutes: [{escalation: prd}]",
        ["20:23: unknown escalation policy 'prd'; did you mean 'prod'? (known: prod)"],
    ),
    "both": (
        "escalations: {p: {critical: [{to: [ops]}]}}\nroutes: [{escalation: p, to: [ops]}]",
        ["20:11: a route has `to` or `escalation`, not both: leave one out"],
    ),
    "neither": (
        "routes: [{match: {team: booking}}, {to: [ops]}]",
        ["19:10: missing key 'to': a list of channels; or `escalation`: the name of a policy"],
    ),
    "repeat beside a policy": (
        "escalations: {p: {critical: [{to: [ops]}]}}\nroutes: [{escalation: p, repeat: 1h}]",
        ["20:26: an escalation policy says itself when it repeats: write `repeat` there"],
    ),
    "escalation that is a list": (
        "escalations: {p: {critical: [{to: [ops]}]}}\nroutes: [{escalation: [p]}]",
        ["20:23: expected text, found a list"],
    ),
    "notices to nobody": (
        "routes: [{to: [ops], notices: [mal, mail]}]",
        ["19:32: unknown channel 'mal'; did you mean 'mail'? (known: lead, mail, oncall, ops)"],
    ),
    "notices that page": (
        "routes: [{to: [ops], notices: [oncall, lead]}]",
        ["19:40: 'lead' (pager) wakes people, and notices never do"],
    ),
    "notices to an empty list": (
        "routes: [{to: [ops], notices: []}]",
        ["19:31: an empty list tells nobody; name at least one channel"],
    ),
    "unknown mute window": (
        'mute_windows: {nights: {zone: UTC, from: "22:00"}}\nroutes: [{to: [ops], mute: [nigths]}]',
        ["20:29: unknown mute window 'nigths'; did you mean 'nights'? (known: nights)"],
    ),
    "gathered by a misspelt label": (
        "routes: [{to: [ops], gather: {by: [teem]}}]",
        ["19:36: no service has a label 'teem'; did you mean 'team'?"],
    ),
    "gathered without waiting": (
        "routes: [{to: [ops], gather: {wait: 0s, interval: 0s}}]",
        ["19:30: it gathers nothing: give `wait` or `interval` a duration"],
    ),
    "gather's keys": (
        "routes: [{to: [ops], gather: {buy: [team], wait: 5}}]",
        [
            "19:31: unknown key 'buy'; did you mean 'by'?",
            "19:50: '5' is not a duration; write a number with a unit such as 30s, 5m, 1h or 500ms",
        ],
    ),
    "repeat of a route": (
        "routes: [{to: [ops], repeat: often}]",
        ["19:30: 'often' is neither a duration such as 4h nor 'never'"],
    ),
    "unknown zone": (
        "mute_windows: {w: {zone: Europe/Berln}}\nroutes: [{to: [ops], mute: [w]}]",
        [
            "19:19: it never ends: a route with it would not tell what can wait at all",
            "19:26: unknown time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?",
        ],
    ),
    "zone of a place": (
        "mute_windows: {w: {zone: Seoul, days: [sat]}}\nroutes: [{to: [ops], mute: [w]}]",
        ["19:26: unknown time zone 'Seoul'; did you mean 'Asia/Seoul'?"],
    ),
    "zone in other letters": (
        "mute_windows: {w: {zone: europe/berlin, days: [sat]}}\nroutes: [{to: [ops], mute: [w]}]",
        ["19:26: unknown time zone 'europe/berlin'; did you mean 'Europe/Berlin'?"],
    ),
    "zone like none": (
        "mute_windows: {w: {zone: nowhere-at-all, days: [sat]}}\nroutes: [{to: [ops], mute: [w]}]",
        ["19:26: unknown time zone 'nowhere-at-all'; write one such as Europe/Berlin or UTC"],
    ),
    "no zone": (
        "mute_windows: {w: {days: [sat]}}\nroutes: [{to: [ops], mute: [w]}]",
        ["19:19: missing key 'zone'"],
    ),
    "days": (
        "mute_windows: {w: {zone: UTC, days: [fridy, mon-zzz, tue-, weekend]}}\nroutes: [{to: [ops], mute: [w]}]",
        [
            "19:38: 'fridy' is no day of the week; did you mean 'friday'?",
            "19:45: 'zzz' is no day of the week such as mon or monday, or a range such as mon-fri",
            "19:54: '' is no day of the week such as mon or monday, or a range such as mon-fri",
            "19:60: 'weekend' is no day of the week such as mon or monday, or a range such as mon-fri",
        ],
    ),
    "no days": (
        'mute_windows: {w: {zone: UTC, from: "22:00", days: []}}\nroutes: [{to: [ops], mute: [w]}]',
        ["19:52: an empty list: it would never begin; leave `days` out for every day"],
    ),
    "times": (
        'mute_windows: {w: {zone: UTC, from: "24:00", to: "7:00", days: [sat]}}\nroutes: [{to: [ops], mute: [w]}]',
        [
            "19:37: '24:00' is not a time of the day such as '09:00'",
            "19:50: '7:00' is not a time of the day such as '09:00'",
        ],
    ),
    "always": (
        "mute_windows: {w: {zone: UTC}}\nroutes: [{to: [ops], mute: [w]}]",
        ["19:19: it never ends: a route with it would not tell what can wait at all"],
    ),
    "report": (
        'reports: {weekly: {day: mnday, at: "25:00", zone: UCT/UTC}}\nroutes: [{to: [ops]}]',
        [
            "19:25: 'mnday' is no day of the week; did you mean 'monday'?",
            "19:36: '25:00' is not a time of the day such as '09:00'",
            "19:51: unknown time zone 'UCT/UTC'; write one such as Europe/Berlin or UTC",
        ],
    ),
    "report that is not there": (
        "reports: {dayly: {}}\nroutes: [{to: [ops]}]",
        ["19:11: unknown key 'dayly'; known: weekly"],
    ),
    "heartbeat": (
        "heartbeat: {url: hc.example.com, evry: 1m}\nroutes: [{to: [ops]}]",
        [
            "19:18: this is not an address such as https://HOST/PATH",
            "19:34: unknown key 'evry'; did you mean 'every'?",
        ],
    ),
    "heartbeat without address": (
        "heartbeat: {every: 1m}\nroutes: [{to: [ops]}]",
        ["19:12: missing key 'url'"],
    ),
    "templates": (
        "templates: {headlin: a.j2}\nroutes: [{to: [ops]}]",
        [
            "19:13: unknown key 'headlin'; did you mean 'headline'?",
            "19:22: a.j2 cannot be read: No such file or directory",
        ],
    ),
    "server's address": (
        "server: {url: watchdog.example.com}\nroutes: [{to: [ops]}]",
        ["19:15: 'watchdog.example.com' is not an address such as http://HOST:PORT"],
    ),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_a_policy_with_mistakes_is_refused(draft: Draft, text: str, said: list[str]) -> None:
    telling(draft, text)

    assert [it.removeprefix("watchdog.yaml:") for it in draft.problems()] == said


@pytest.mark.parametrize(("text", "said"), BAD_ROUTES.values(), ids=BAD_ROUTES)
def test_what_routes_name_is_refused_where_it_has_mistakes(draft: Draft, text: str, said: list[str]) -> None:
    telling(draft, text, "")

    found = [it.removeprefix("watchdog.yaml:") for it in draft.problems()]

    assert [it.replace(f"{draft.folder}/", "") for it in found] == said


def test_what_nobody_names_is_worth_a_note(draft: Draft) -> None:
    telling(
        draft,
        "escalations: {p: {critical: [{to: [ops, lead, mail, oncall]}]}}\n"
        "mute_windows: {w: {zone: UTC, days: [sat]}}",
        "routes: [{to: [ops, lead, mail, oncall], gather: {by: [zzz]}}]\n",
    )
    notes = [it.removeprefix("watchdog.yaml:") for it in draft.notes()]

    assert [it for it in notes if "has no ladder" not in it] == [
        "19:15: no route names policy 'p'",
        "20:16: no route names mute window 'w'",
        "21:56: no service has a label 'zzz': what has none is one group",
    ]


def test_the_design_s_own_example_is_read(draft: Draft, tmp_path: Path) -> None:
    draft.main = draft.main.replace(
        OLD,
        """channels:
  {ops: {kind: log}, oncall: {kind: desk}, team-lead: {kind: pager}, manager: {kind: log}, mail: {kind: log}}
routes:
  - {match: {team: booking}, to: [ops]}
  - {escalation: production}
escalations:
  production:
    critical: [{to: [oncall, ops]}, {after: 5m, to: [team-lead]}]
    high:     [{to: [ops, mail]}, {after: 15m, to: [manager]}]
    medium:   [{to: [ops]}, {after: 1h, to: [manager]}]
    low:      [{to: [mail]}, {after: 24h, digest: weekly}]
heartbeat: {url: "https://hc.example.com/ping/1", every: 1m}
""",
    )

    assert draft.problems() == []
    assert draft.notes() == []
