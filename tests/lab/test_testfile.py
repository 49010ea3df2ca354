"""Files with tests of rules: what they become, and every mistake at its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from watchdog.config.problems import InvalidConfiguration
from watchdog.core.request import RequestKind
from watchdog.core.service import GitOps, Mode
from watchdog.core.traffic import VariantState
from watchdog.lab.script import ClockSet, Deployed, Down, Patched, Wanted
from watchdog.lab.testfile import Case, Suite, read_suite

RULES = """version: 1
rules:
  - name: errors
    ratio: {bad: 'bad{version="$version"}', total: 'all{version="$version"}'}
    threshold: {critical: 1%, rollback: 150%}
  - name: slow
    unit: seconds
    gauge: {of: 'slow{service="$service",team="$label.team"}', by: max}
    threshold: {critical: 1s}
  - name: alive
    probe: {kind: http, url: "http://$service/"}
    threshold: {critical: 3 failures, rollback: 5 failures}
"""
CONFIGURATION = """version: 1
rules: [rules.yaml]
sources: {prometheus: {kind: prometheus, url: "http://127.0.0.1:9090"}}
services:
  - {name: shop, labels: {team: a}, rules: [errors, slow], mode: approve, rollback: {warmup: 2m, cooldown: 3m},
     traffic: {kind: haproxy, socket: /run/a.sock, backend: a, variants: {left: l, right: r, third: t}}}
  - {name: cart, labels: {team: b}, rules: [errors], traffic: {kind: command, read: [x], apply: [x, "{variant}"]}}
mute_windows: {nights: {zone: UTC, from: "22:00", to: "07:00"}}
limits: {max_rollbacks: 7 per 10m}
intervals: {recheck: 7s}
channels: {ops: {kind: log}}
routes: [{to: [ops], mute: [nights]}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "watchdog.yaml").write_text(CONFIGURATION)
    return tmp_path


def suite(folder: Path, text: str) -> Suite:
    (folder / "x.test.yaml").write_text(text)
    return read_suite(folder / "x.test.yaml", environ={})


def case(folder: Path, body: str, *, head: str = "rules: [rules.yaml]") -> Case:
    """One test whose keys are those of `body`, a line each."""
    inner = "".join(f"    {line}\n" for line in body.splitlines())
    (one,) = suite(folder, f"version: 1\n{head}\ntests:\n  - name: it\n{inner}").cases
    return one


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        suite(folder, text)
    return [str(one).removeprefix(f"{folder}/") for one in caught.value.problems]


NOTHING = "expect: [{switch: any, never: true}]"


def test_a_series_becomes_samples_as_far_apart_as_the_rule_is_polled(folder: Path) -> None:
    (feed,) = case(folder, f"series: {{errors@v1: '0.1, none, 12/400, error'}}\n{NOTHING}").script.feeds
    assert (feed.service, feed.rule, feed.version, feed.events) == ("app", "errors", "v1", None)
    assert [one.at.total_seconds() for one in feed.samples] == [0, 30, 60, 90]
    assert [one.value for one in feed.samples] == [0.1, None, 0.03, None]
    assert [one.events for one in feed.samples] == [None, None, 400, None]
    assert [one.failed for one in feed.samples] == [False, False, False, True]


def test_every_and_starts_and_events_say_otherwise_the_nearest_first(folder: Path) -> None:
    slow = "{samples: 2s x2, every: 5s, starts: 1m, events: 7}"
    body = f"every: 10s\nseries: {{errors: 0.5 x2, slow: {slow}}}\n{NOTHING}"
    errors, other = case(folder, body, head="rules: [rules.yaml]\nevery: 20s").script.feeds
    assert [one.at.total_seconds() for one in errors.samples] == [0, 10]
    assert [one.at.total_seconds() for one in other.samples] == [60, 65]
    assert other.events == 7
    (errors,) = case(
        folder, f"series: {{errors: 0.5 x2}}\n{NOTHING}", head="rules: [rules.yaml]\nevery: 20s"
    ).script.feeds
    assert [one.at.total_seconds() for one in errors.samples] == [0, 20]


def test_a_bare_number_is_a_sample_too(folder: Path) -> None:
    (feed,) = case(folder, f"series: {{errors: 0.25}}\n{NOTHING}").script.feeds
    assert [one.value for one in feed.samples] == [0.25]


def test_without_a_configuration_there_is_one_service_with_a_known_good_version(folder: Path) -> None:
    script = case(folder, f"series: {{errors: 0.5, alive: ok}}\n{NOTHING}").script
    (service,) = script.services
    assert (service.name, service.mode, service.labels) == ("app", Mode.ENFORCE, {"team": "team"})
    assert service.rules == ("errors", "alive"), "what has no series is not asked"
    assert script.traffic == {
        "app": {
            "blue": VariantState(weight=100, version="v1", ready=1, total=1),
            "green": VariantState(weight=0, ready=1, total=1),
        }
    }
    (vouched,) = script.events
    assert vouched.at == timedelta()
    assert isinstance(vouched.what, Wanted)
    assert vouched.what.kind is RequestKind.MARK_GOOD
    assert vouched.what.arguments["version"] == "v1"
    assert [route.to for route in script.routes] == [("log",)]
    assert script.begins == datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_what_serves_at_the_begin_need_not_be_good(folder: Path) -> None:
    assert case(folder, f"stable: false\n{NOTHING}").script.events == ()


def test_the_service_can_be_named_and_changed(folder: Path) -> None:
    body = f"""service: {{name: shop, environment: staging, labels: {{team: x}}, mode: observe, gitops: ignore,
  rollback: {{warmup: 5s, confirm: slow}}}}
series: {{errors: 0.1, slow: 1s}}
{NOTHING}"""
    (service,) = case(folder, body).script.services
    assert (service.name, service.environment, service.labels) == ("shop", "staging", {"team": "x"})
    assert (service.mode, service.gitops) == (Mode.OBSERVE, GitOps.IGNORE)
    assert service.rollback.warmup == timedelta(seconds=5)
    assert service.rollback.confirm == ("slow",)
    assert service.rollback.cooldown == timedelta(minutes=15)


def test_the_file_says_what_its_tests_leave_out(folder: Path) -> None:
    head = """rules: [rules.yaml]
service: {mode: approve}
traffic: {old: {weight: 1, version: v7}, new: 0}
begins: "2026-03-07T03:00:00+02:00"
strict: true"""
    one = case(folder, "series: {errors@v7: 0.1}", head=head)
    assert one.strict
    assert one.script.services[0].mode is Mode.APPROVE
    assert one.script.begins == datetime(2026, 3, 7, 1, tzinfo=UTC)
    assert list(one.script.traffic["app"]) == ["old", "new"]
    other = case(folder, f'strict: false\nbegins: "2026-03-08"\nservice: app\n{NOTHING}', head=head)
    assert not other.strict
    assert other.script.begins == datetime(2026, 3, 8, tzinfo=UTC)
    assert other.script.services[0].mode is Mode.ENFORCE


def test_a_configuration_brings_services_switches_routes_and_limits(folder: Path) -> None:
    body = f"service: shop\nseries: {{errors@v1: 0.1}}\n{NOTHING}"
    script = case(folder, body, head="config: watchdog.yaml").script
    (service,) = script.services
    assert (service.name, service.mode, service.labels) == ("shop", Mode.APPROVE, {"team": "a"})
    assert list(script.traffic["shop"]) == ["left", "right", "third"]
    assert [spot.live for spot in script.traffic["shop"].values()] == [True, False, False]
    assert (script.limits.max_rollbacks, script.recheck) == (7, timedelta(seconds=7))
    assert [mute.name for route in script.routes for mute in route.mutes] == ["nights"]


def test_what_is_different_in_a_test_leaves_the_rest_of_the_configuration(folder: Path) -> None:
    body = f"service: {{name: shop, rollback: {{cooldown: 9m}}}}\n{NOTHING}"
    (service,) = case(folder, body, head="config: watchdog.yaml").script.services
    assert service.rollback.warmup == timedelta(minutes=2)
    assert service.rollback.cooldown == timedelta(minutes=9)
    assert service.mode is Mode.APPROVE


def test_other_services_take_part_once_they_are_named(folder: Path) -> None:
    body = f"service: shop\nseries: {{errors@v1: 0.1, cart/errors@v1: 0.2}}\n{NOTHING}"
    script = case(folder, body, head="config: watchdog.yaml").script
    assert [one.name for one in script.services] == ["shop", "cart"]
    assert [(feed.service, feed.version) for feed in script.feeds] == [("shop", "v1"), ("cart", "v1")]
    body = "service: shop\nexpect: [{switch: {service: cart}, never: true}]"
    assert len(case(folder, body, head="config: watchdog.yaml").script.services) == 2
    body = f"service: shop\nevents: [{{at: 1m, service: cart, deploy: v2}}]\n{NOTHING}"
    assert len(case(folder, body, head="config: watchdog.yaml").script.services) == 2


def test_every_event_is_read(folder: Path) -> None:
    body = f"""events:
  - {{at: 1m, deploy: v2}}
  - {{at: 2m, deploy: {{version: v3, variant: blue, announced: false, rollback: forbidden}}}}
  - {{at: 3m, patch: {{green: 5, blue: {{weight: 1, version: v9, ready: 2}}}}}}
  - {{at: 4m, acknowledge: anna}}
  - {{at: 4m, acknowledge: {{by: bob, for: 1h, reason: mine}}}}
  - {{at: 5m, rollback: {{to: v2}}}}
  - {{at: 6m, taint: {{version: v9}}}}
  - {{at: 7m, silence: {{for: 2h, match: {{rule: errors}}}}}}
  - {{at: 8m, clock: -90s}}
  - {{at: 9m, switch_down: 30s}}
  - {{at: 10m, channel_down: {{log: 5m}}}}
  - {{at: 11m, pause: anna}}
{NOTHING}"""
    planned = case(folder, f"stable: false\n{body}").script.events
    assert [one.at.total_seconds() / 60 for one in planned] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11]
    assert [one.what for one in planned] == [
        Deployed(service="app", version="v2", variant="green"),
        Deployed(service="app", version="v3", variant="blue", announced=False, rollback_allowed=False),
        Patched(
            service="app",
            variants={
                "green": VariantState(weight=5, ready=1, total=1),
                "blue": VariantState(weight=1, version="v9", ready=2, total=2),
            },
        ),
        Wanted(kind=RequestKind.ACKNOWLEDGE, service="app", by="anna"),
        Wanted(
            kind=RequestKind.ACKNOWLEDGE,
            service="app",
            by="bob",
            arguments={"reason": "mine", "for_seconds": "3600"},
        ),
        Wanted(kind=RequestKind.ROLLBACK, service="app", arguments={"to": "v2"}),
        Wanted(kind=RequestKind.TAINT, service="app", arguments={"version": "v9"}),
        Wanted(kind=RequestKind.SILENCE, service="app", arguments={"rule": "errors", "for_seconds": "7200"}),
        ClockSet(by=timedelta(seconds=-90)),
        Down(lasts=timedelta(seconds=30), service="app"),
        Down(lasts=timedelta(minutes=5), channel="log"),
        Wanted(kind=RequestKind.PAUSE, service="app", by="anna"),
    ]


def test_events_are_played_in_the_order_of_their_times(folder: Path) -> None:
    body = f"stable: false\nevents: [{{at: 5m, pause: a}}, {{at: 1m, deploy: v2}}]\n{NOTHING}"
    assert [one.at.total_seconds() for one in case(folder, body).script.events] == [60, 300]


def test_a_test_lasts_until_all_that_it_speaks_of_is_over(folder: Path) -> None:
    body = (
        "series: {errors: 0.1 x3}\nevents: [{at: 3m, deploy: v2}]\nexpect: [{switch: any, within: [1m, 9m]}]"
    )
    assert case(folder, body).script.until == timedelta(minutes=9)
    assert case(folder, f"until: 2m\n{body}").script.until == timedelta(minutes=2)
    assert case(folder, f"series: {{errors: 0.1 x3}}\n{NOTHING}").script.until == timedelta(minutes=1)


def test_expectations_know_when(folder: Path) -> None:
    body = """expect:
  - {switch: any, at: 1m}
  - {rollback: {state: [applied, completed]}, within: [1m, 2m], times: 2}
  - {verdict: ok, after: 1m, by: 3m}
  - {guard: {guard: armed, reason: too_late}, never: true, by: 1m}
  - {verdict: {rule: slow, value: 500ms, fresh: true}}
  - {escalation: 2}"""
    found = case(folder, body).expectations
    minute = timedelta(minutes=1)
    assert [(one.after, one.by, one.times) for one in found] == [
        (minute, minute, None),
        (minute, 2 * minute, 2),
        (minute, 3 * minute, None),
        (None, minute, 0),
        (None, None, None),
        (None, None, None),
    ]
    assert [dict(one.facts) for one in found] == [
        {},
        {"state": ("applied", "completed")},
        {"level": ("ok",)},
        {"guard": ("armed",), "reason": ("too_late",)},
        {"rule": ("slow",), "value": (0.5,), "fresh": (True,)},
        {"step": (2.0,)},
    ]
    assert found[0].place == f"{folder}/x.test.yaml:6:9"


def of_lines(*pairs: tuple[str, str]) -> tuple[str, list[str]]:
    """A file of these lines, and the mistakes beside them as `LINE:COL: words`, from the column on."""
    numbered = enumerate(pairs, start=1)
    return (
        "".join(f"{line}\n" for line, _ in pairs),
        [f"{number}:{words}" for number, (_, told) in numbered for words in told.split(" && ") if told],
    )


TEXT, TOLD = of_lines(
    ("version: 1", ""),
    ("rules: [rules.yaml, nosuch.yaml]", "21: 'nosuch.yaml' matches no file"),
    ("evry: 30s", "1: unknown key 'evry'; did you mean 'every'?"),
    ("tests:", ""),
    ("  - name: a", "5: expects nothing: write `expect`, or `strict: true` where nothing may happen"),
    ("    begns: x", "5: unknown key 'begns'; did you mean 'begins'? && 12: 'x' is not a time such as"),
    ("    series:", ""),
    ("      errors@v3: 0.1", "7: unknown version 'v3'; did you mean 'v9'? (known: v1, v2, v9)"),
    ("      erors: 0.1", "7: unknown rule 'erors'; did you mean 'errors'? (known: alive, errors, slow)"),
    ("      slow@v1: 1s", "7: rule 'slow' names neither $version nor $variant: it has one series for all"),
    ('      slow: "1s, 5q x3"', "18: '5q' has q, which does not fit unit seconds"),
    ("      alive: ok x3, 0.5", "21: '0.5' is no sample; write for example ok x5, fail x3"),
    ("      nosuch/errors: 1", "7: unknown service 'nosuch' (known: app)"),
    ("      errors: [0.1]", "15: expected samples such as 0.01 x5, none x2, found a list"),
    ("      a/b/c: 1", "7: 'a/b/c' is no series; write RULE, RULE@VERSION or SERVICE/RULE"),
    ("      app/alive: {sample: ok}", "19: unknown key 'sample'; did you mean 'samples'?"),
    ("    events:", ""),
    ("      - {at: 5m, deploy: {versio: v2}}", "27: unknown key 'versio'; did you mean 'version'?"),
    (
        "      - {at: 5m, acknowledge: a, pause: b}",
        "9: an event is one thing that happens; found acknowledge and",
    ),
    ("      - {at: 6m}", "9: an event is one thing that happens; write one of deploy, patch, acknowledge"),
    ("      - {pause: anna}", "9: missing key 'at'"),
    ("      - {at: x, pause: anna}", "14: 'x' is not a duration; write a number with a unit such as 30s"),
    (
        "      - {at: 5m, patch: {blu: 5}}",
        "26: unknown variant 'blu'; did you mean 'blue'? (known: blue, green)",
    ),
    ("      - {at: 5m, patch: {blue: -1}}", "32: -1 is no weight: 0 takes no traffic, more takes some"),
    ("      - {at: 5m, patch: {blue: {version: v9}}}", ""),
    (
        "      - {at: 7m, channel_down: {lgo: 5m}}",
        "33: unknown channel 'lgo'; did you mean 'log'? (known: log)",
    ),
    ("      - {at: 7m, clock: 1h}", "25: '1h' does not say how far the clock is set: write for example +1h"),
    (
        "      - {at: 8m, taint: {version: v8}}",
        "35: unknown version 'v8'; did you mean 'v9'? (known: v1, v2, v9)",
    ),
    ("      - {at: 8m, taint: v1}", "25: expected a mapping, found 'v1'"),
    ("      - {at: 8m, rollback: {to: v8}}", "33: unknown version 'v8'; did you mean 'v9'?"),
    ("      - {at: 8m, pause: true}", "25: expected who asks, or a mapping, found true"),
    ("      - {at: 8m, pause: ''}", "25: expected who asks, found nothing; quote what is meant"),
    ("      - {at: 8m, service: nosuch, pause: bob}", "27: unknown service 'nosuch' (known: app)"),
    (
        "      - {at: 8m, deploy: {version: v2, variant: gren}}",
        "49: unknown variant 'gren'; did you mean 'green'?",
    ),
    ("      - {at: 8m, deploy: 1.4}", "26: expected text, found the number 1.4; quote it"),
    (f"      - {{at: 8m, deploy: {'v' * 201}}}", "26: "),
    ("      - {at: 8m, switch_down: 0s}", "31: '0s' is out of range"),
    ("  - name: a", "11: duplicate test 'a'; it also stands in line 5"),
    ("    expect:", ""),
    (
        "      - {verdict: critcal}",
        "19: unknown level 'critcal'; did you mean 'critical'? (known: critical, ok,",
    ),
    ("      - {rollbck: any}", "10: unknown key 'rollbck'; did you mean 'rollback'?"),
    (
        "      - {guard: arme, at: 5m, by: 6m}",
        "17: unknown guard 'arme'; did you mean 'armed'? && 31: 'by' beside 'at'",
    ),
    ("      - {guard: {reason: too_lat}}", "26: unknown reason of guard 'too_lat'; did you mean 'too_late'?"),
    ("      - {verdict: {leve: ok}}", "20: unknown field of verdict 'leve'; did you mean 'level'?"),
    ("      - {verdict: {reason: withn}}", "28: unknown reason of verdict 'withn'; did you mean 'within'?"),
    ("      - {verdict: {value: 5q}}", "27: 'value' is a number, found '5q'"),
    ("      - {verdict: {rule: slow, value: 5}}", "39: '5' has no unit, which does not fit unit seconds"),
    ("      - {verdict: {fresh: 1}}", "27: 'fresh' is true or false, found the number 1"),
    ("      - {verdict: {rule: erors}}", "26: unknown rule 'erors'; did you mean 'errors'?"),
    ("      - {notification: {channel: ops}}", "34: unknown channel 'ops' (known: log)"),
    (
        "      - {notification: incident_open}",
        "24: unknown kind of notification 'incident_open'; did you mean",
    ),
    ("      - {switch: any, never: true, times: 2}", "36: 'times' beside 'never': one of them is enough"),
    ("      - {switch: any, within: [5m, 4m]}", "31: the span ends before it begins"),
    ("      - {switch: any, after: 5m, by: 4m}", "38: the span ends before it begins"),
    (
        "      - {switch: any, rollback: any}",
        "9: an expectation is about one kind of happening; found rollback and",
    ),
    ("      - {by: 5m}", "9: an expectation is about one kind of happening; write one of verdict, incident"),
    ("      - {switch: {to: []}}", "23: an empty list is never equal to anything"),
    ("      - {switch: {to: true}}", "23: expected text, found true"),
    ("      - {switch: {to: {a: b}}}", "23: expected a value of 'to', found a mapping"),
    ("      - {switch: {to: v2}}", "23: unknown version 'v2'; did you mean 'v1'? (known: v1)"),
    ("      - {switch: {variant: reen}}", "28: unknown variant 'reen'; did you mean 'green'?"),
    (
        "      - {incident: {severity: hih}, never: false}",
        "31: unknown severity 'hih' && 44: `never: false` says",
    ),
    ("      - {incident: {kind: breech}}", "27: unknown kind of incident 'breech'; did you mean 'breach'?"),
    ("      - 5", "9: expected a mapping, found the number 5"),
    ("  - name: b", ""),
    (
        "    service: {mode: enforc, rollback: {cooldwn: 5m}}",
        "21: 'enforc' is not one of && 40: unknown key 'cooldwn'",
    ),
    ("    strict: true", ""),
    ("  - name: c", ""),
    (
        "    service: {rules: [error], rollback: {confirm: slw}}",
        "23: unknown rule 'error' && 51: unknown rule 'slw'",
    ),
    ("    strict: true", ""),
    ("  - name: d", ""),
    ("    service: [a]", "14: expected the name of a service, found a list"),
    ("    strict: true", ""),
    ("  - name: e", "5: expects nothing"),
    ("    until: -5m", "12: '-5m' is not a duration"),
    ("    traffic: {blue: x}", "21: expected a mapping, found 'x'"),
    ("    expect: []", ""),
)


def test_every_mistake_is_told_at_once_each_at_its_place(folder: Path) -> None:
    told = [one.removeprefix("x.test.yaml:") for one in mistakes(folder, TEXT)]
    missing = [one for one in TOLD if not any(line.startswith(one) for line in told)]
    beside = [line for line in told if not any(line.startswith(one) for one in TOLD)]
    assert (missing, beside) == ([], [])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["x.test.yaml:1:1: is empty"]),
        ("# nothing\n", ["x.test.yaml:1:1: is empty"]),
        ("rules: [rules.yaml]\n", ["x.test.yaml:1:1: missing key 'tests'"]),
        ("version: 2\nrules: [rules.yaml]\ntests: []\n", None),
        (
            "version: 1\nrules: [rules.yaml]\ntests: []\n",
            ["x.test.yaml:3:8: no tests: at least one is needed"],
        ),
        (
            "version: 1\ntests: [{name: x, expect: [{switch: any}]}]\n",
            [
                "x.test.yaml:1:1: write either `rules`, such as [web.yaml], or `config`, the file of a configuration"
            ],
        ),
        ("version: 1\nrules: [rules.yaml]\nconfig: watchdog.yaml\ntests: [{name: x, strict: true}]\n", None),
        ("version: 1\nrules: []\ntests: [{name: x, strict: true}]\n", None),
        ("- 1\n", ["x.test.yaml:1:1: expected a mapping, found a list"]),
        ("version: 1\nrules: [rules.yaml]\ntests: [{name: !env X, strict: true}]\n", None),
        ("version: 1\nrules: [\n", None),
    ],
)
def test_a_file_that_is_no_file_of_tests_says_so(folder: Path, text: str, found: list[str] | None) -> None:
    told = mistakes(folder, text)
    assert told
    assert found is None or set(found) <= set(told)


def test_a_file_of_rules_is_told_in_one_sentence(folder: Path) -> None:
    (told,) = mistakes(folder, RULES)
    assert told.startswith("x.test.yaml:2:1: these are rules; tests of them stand beside them")


def test_a_mistake_in_the_rules_is_told_where_it_is_and_where_the_file_is_named(folder: Path) -> None:
    (folder / "broken.yaml").write_text(RULES.replace("threshold: {critical: 1%", "treshold: {critical: 1%"))
    body = "{name: x, series: {errors: 0.1, sloow: 1s}, strict: true}"
    text = f"version: 1\nrules:\n  - broken.yaml\ntests:\n  - {body}\n"
    why = f"{folder}/broken.yaml:5:5: unknown key 'treshold'; did you mean 'threshold'?"
    assert mistakes(folder, text) == [
        "broken.yaml:5:5: unknown key 'treshold'; did you mean 'threshold'?",
        f"x.test.yaml:3:5: 'broken.yaml' has a mistake at {why}",
        "x.test.yaml:5:37: unknown rule 'sloow'; did you mean 'slow'? (known: alive, errors, slow)",
    ]


def test_a_mistake_in_the_configuration_is_told_at_both_places_too(folder: Path) -> None:
    (folder / "watchdog.yaml").write_text(CONFIGURATION.replace("errors, slow", "erors, slow"))
    told = mistakes(folder, "version: 1\nconfig: watchdog.yaml\ntests: [{name: x, strict: true}]\n")
    assert told[0].startswith("watchdog.yaml:5:45: unknown rule 'erors'")
    assert told[1].startswith(
        f"x.test.yaml:2:9: 'watchdog.yaml' has a mistake at {folder}/watchdog.yaml:5:45: "
    )


def test_a_test_of_a_configuration_with_several_services_says_which(folder: Path) -> None:
    (told,) = mistakes(folder, "version: 1\nconfig: watchdog.yaml\ntests: [{name: x, strict: true}]\n")
    assert told == "x.test.yaml:3:9: missing key 'service': which one is tested? (known: cart, shop)"
    text = "version: 1\nconfig: watchdog.yaml\ntests: [{name: x, service: chop, strict: true}]\n"
    assert mistakes(folder, text) == [
        "x.test.yaml:3:28: unknown service 'chop'; did you mean 'shop'? (known: cart, shop)"
    ]
    text = "version: 1\nconfig: watchdog.yaml\ntests: [{name: x, service: cart, series: {slow: 1s}, strict: true}]\n"
    assert mistakes(folder, text) == ["x.test.yaml:3:43: service 'cart' does not use rule 'slow'"]


def test_all_series_of_a_test_together_have_a_limit(folder: Path) -> None:
    series = "{errors: 0 x60000, slow: 1s x60000}"
    text = f"version: 1\nrules: [rules.yaml]\ntests: [{{name: x, strict: true, series: {series}}}]\n"
    (told,) = mistakes(folder, text)
    assert told.endswith("too many samples: a test may have 100000 in all its series")
    assert len(case(folder, f"series: {{errors: 0 x60000, slow: 1s x40000}}\n{NOTHING}").script.feeds) == 2


def test_a_mistake_in_a_text_of_several_lines_counts_its_characters(folder: Path) -> None:
    series = "    series:\n      errors: >-\n        0.1,\n        0.2q\n"
    text = f"version: 1\nrules: [rules.yaml]\ntests:\n  - name: x\n    strict: true\n{series}"
    (told,) = mistakes(folder, text)
    assert told.startswith("x.test.yaml:7:15: '0.2q' has q")
    assert told.endswith("(character 6 of the text)")
