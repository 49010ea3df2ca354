from __future__ import annotations

from datetime import timedelta

import pytest

from tests.config.conftest import Draft
from tests.servers.certificates import Certificate
from watchdog.core.service import GitOps, Limits, Mode, RollbackPolicy, Service

OTHER = """
  - name: stops
    rules: [error-rate]
    traffic: {kind: command, read: ["true"], ready: {kind: http, url: "http://{address}/healthz"}}
"""


def _service(draft: Draft) -> Service:
    return draft.load().services["trips"].service


def test_a_service_gets_every_default_of_the_design(draft: Draft) -> None:
    assert _service(draft) == Service(
        name="trips",
        environment="production",
        labels={"team": "booking"},
        rules=("error-rate", "healthy"),
        mode=Mode.ENFORCE,
        gitops=GitOps.VETO,
        rollback=RollbackPolicy(),
    )


def test_every_key_of_a_service_arrives(draft: Draft) -> None:
    draft.replace(
        "    traffic:\n",
        """    environment: staging
    mode: approve
    gitops: ignore
    rollback:
      warmup: 0s
      armed_for: 1h
      soak: 10m
      stabilise: 0s
      verify: 1m
      contest_for: 10s
      cooldown: 0s
      max_per_day: 5
      min_ready: 100%
      confirm: [healthy]
      approve_within: 5m
    traffic:
""",
    )

    assert _service(draft) == Service(
        name="trips",
        environment="staging",
        labels={"team": "booking"},
        rules=("error-rate", "healthy"),
        mode=Mode.APPROVE,
        gitops=GitOps.IGNORE,
        rollback=RollbackPolicy(
            warmup=timedelta(),
            armed_for=timedelta(hours=1),
            soak=timedelta(minutes=10),
            stabilise=timedelta(),
            verify=timedelta(minutes=1),
            contest_for=timedelta(seconds=10),
            cooldown=timedelta(),
            max_per_day=5,
            min_ready=1.0,
            confirm=("healthy",),
            approve_within=timedelta(minutes=5),
        ),
    )


def test_a_profile_lies_under_the_services_own_values(draft: Draft) -> None:
    draft.replace("    traffic:\n", "    rollback: {soak: 1m}\n    traffic:\n")
    draft.insert(
        "environments: {production: {mode: observe, rollback: {soak: 9m, armed_for: 9m, confirm: healthy}}}\n"
    )

    service = _service(draft)

    assert service.mode is Mode.OBSERVE
    assert service.rollback == RollbackPolicy(
        soak=timedelta(minutes=1), armed_for=timedelta(minutes=9), confirm=("healthy",)
    )


def test_a_service_can_take_back_what_its_profile_says(draft: Draft) -> None:
    draft.replace("    traffic:\n", "    mode: enforce\n    rollback: {confirm: none}\n    traffic:\n")
    draft.insert("environments: {production: {mode: observe, rollback: {confirm: healthy}}}\n")

    service = _service(draft)

    assert (service.mode, service.rollback.confirm) == (Mode.ENFORCE, ())


def test_a_profile_that_confirms_with_a_rule_its_service_does_not_use_is_told_at_the_profile(
    draft: Draft,
) -> None:
    draft.replace("[error-rate, healthy]", "[error-rate]")
    draft.insert("environments:\n  production: {rollback: {confirm: healthy}}\n")

    assert draft.problems() == [
        "watchdog.yaml:19:36: unknown rule 'healthy' (known: error-rate); a service confirms with rules that it uses"
    ]


@pytest.mark.parametrize(
    ("confirm", "said"),
    [
        ("[]", "an empty list confirms nothing; write none"),
        ("7", "expected none or names of rules, found the number 7"),
        ("{rule: healthy}", "expected none or names of rules, found a mapping"),
        ("[healthy, healthy]", "duplicate rule 'healthy'"),
        ("[none]", "unknown rule 'none'"),
    ],
)
def test_confirm_is_none_or_rules(draft: Draft, confirm: str, said: str) -> None:
    draft.replace("    traffic:\n", f"    rollback: {{confirm: {confirm}}}\n    traffic:\n")

    (problem,) = draft.problems()

    assert said in problem


@pytest.mark.parametrize(
    "rules", ["[{tag: web}]", "[error-rate, {tag: web}]", "[{tag: web}, error-rate]", "[error-rate, healthy]"]
)
def test_rules_are_chosen_by_name_and_by_tag_and_count_once(draft: Draft, rules: str) -> None:
    draft.replace("[error-rate, healthy]", rules)

    assert _service(draft).rules == ("error-rate", "healthy")


def test_a_label_that_a_rule_uses_must_be_on_every_service_that_uses_the_rule(draft: Draft) -> None:
    draft.rule(
        'name: by-team\nquery: max(x{team="$label.team",tier="${label.tier}"})\nthreshold: {critical: 1}'
    )
    draft.replace("[error-rate, healthy]", "[error-rate, by-team]")

    assert draft.problems() == [
        "watchdog.yaml:8:25: rule 'by-team' uses $label.tier, and this service has no label 'tier'"
    ]


def test_a_switch_that_cannot_tell_readiness_is_worth_a_note(draft: Draft) -> None:
    draft.replace(
        "channels:\n",
        OTHER.replace(', ready: {kind: http, url: "http://{address}/healthz"}', "")[1:] + "channels:\n",
    )

    assert draft.notes() == [
        (
            "watchdog.yaml:16:14: this switch may not tell whether a variant is ready: without `ready` in its JSON "
            "or a `ready` probe here, readiness is unknown, which is a veto"
        )
    ]


def test_a_readiness_probe_keeps_its_address_unresolved(draft: Draft) -> None:
    draft.replace("channels:\n", OTHER[1:] + "channels:\n")

    ready = draft.load().services["stops"].ready

    assert draft.notes() == []
    assert ready is not None
    assert ready.kind == "http"
    assert ready.settings.model_dump()["url"] == "http://{address}/healthz"


def test_a_readiness_probe_that_asks_one_place_for_all_is_worth_a_note(draft: Draft) -> None:
    draft.replace("channels:\n", OTHER[1:].replace("{address}", "127.0.0.1") + "channels:\n")

    assert draft.notes() == [
        "watchdog.yaml:16:53: does not name {address}: the same place is asked for every variant"
    ]


def test_a_relative_path_of_a_provider_starts_from_the_configuration(draft: Draft) -> None:
    draft.replace("/run/haproxy.sock", "haproxy.sock")

    switch = draft.load().services["trips"].traffic.settings

    assert switch.model_dump()["socket"] == draft.folder / "haproxy.sock"


def test_a_rule_that_nobody_uses_and_an_environment_without_services_are_worth_a_note(draft: Draft) -> None:
    draft.replace("[error-rate, healthy]", "[error-rate]").insert(
        "environments: {staging: {mode: observe}}\n"
    )

    assert draft.notes() == [
        "rules.yaml:9:11: rule 'healthy' is used by no service",
        "watchdog.yaml:18:16: no service is in environment 'staging'",
    ]


def test_rules_that_nobody_uses_are_worth_one_note_together(draft: Draft) -> None:
    for name in ("b", "a"):
        draft.rule(f"name: {name}\nrate: x\nthreshold: {{critical: 1}}")

    assert draft.notes() == ["watchdog.yaml:2:1: 2 rules are used by no service: a, b"]


def test_a_misspelt_environment_of_a_profile_is_refused(draft: Draft) -> None:
    draft.insert("environments: {prodction: {mode: observe}}\n")

    assert draft.problems() == [
        "watchdog.yaml:18:16: no service is in environment 'prodction'; did you mean 'production'?"
    ]


def test_a_variable_that_a_switch_does_not_fill_in_is_worth_a_note(draft: Draft) -> None:
    draft.replace("backend: trips", "backend: $service-$label.team-$HOME")

    assert draft.notes() == [
        "watchdog.yaml:12:16: $label.team is not filled in here, a switch takes it as it is written",
        "watchdog.yaml:12:16: $service is not filled in here, a switch takes it as it is written",
    ]


def test_a_key_that_was_refused_is_not_missed_too(draft: Draft) -> None:
    draft.replace("{blue: blue1,", "{on: blue1,")

    (problem,) = draft.problems()

    assert problem.startswith("watchdog.yaml:13:18: 'on' is true or false to some YAML readers")


def test_one_variant_is_too_few(draft: Draft) -> None:
    draft.replace("{blue: blue1, green: [green1, green2]}", "{green: [green1, green2]}")

    assert draft.problems() == ["watchdog.yaml:13:17: at least 2 are needed, found 1"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        ("-----BEGIN CERTIFICATE-----\nnone\n", "holds no certificates in PEM"),
    ],
)
@pytest.mark.parametrize(
    ("old", "at"),
    [
        ('"http://127.0.0.1:9090"', "4:73"),
        ("kind: haproxy", ""),
    ],
)
def test_authorities_that_cannot_be_read_are_told_before_the_first_connection(
    draft: Draft, content: str | None, why: str, old: str, at: str
) -> None:
    if content is not None:
        (draft.folder / "ca.pem").write_text(content)
    if at:
        draft.replace(old, f"{old}, ca_file: ca.pem")
    else:
        ready = '{kind: http, url: "http://{address}/", ca_file: ca.pem}'
        draft.replace(old, f"{old}\n      ready: {ready}")
        at = "11:62"

    assert draft.problems() == [f"watchdog.yaml:{at}: {draft.folder}/ca.pem {why}"]


def test_authorities_that_can_be_read_are_taken(draft: Draft) -> None:
    file = Certificate(draft.folder).file
    draft.replace('"http://127.0.0.1:9090"', f'"http://127.0.0.1:9090", ca_file: {file.name}')

    assert draft.load().sources["prometheus"].settings.model_dump()["ca_file"] == file


@pytest.mark.parametrize(
    ("rollback", "note"),
    [
        (
            "{armed_for: 20s}",
            "armed for 20s, of which 30s is warm-up: only a dead probe could roll a deployment back",
        ),
        (
            "{max_per_day: 0}",
            "max_per_day 0 never rolls back by itself; `mode: observe` says so more clearly",
        ),
    ],
)
def test_a_policy_that_never_rolls_back_is_worth_a_note(draft: Draft, rollback: str, note: str) -> None:
    draft.replace("    traffic:\n", f"    rollback: {rollback}\n    traffic:\n")

    assert [it.split(": ", 1)[1] for it in draft.notes()] == [note]


def test_what_is_asked_to_know_the_network_arrives(draft: Draft) -> None:
    assert draft.load().self_check == ()

    draft.insert('self_check: [{kind: http, url: "http://gateway/", timeout: 2s}]\n')

    (found,) = draft.load().self_check
    assert (found.kind, found.settings.timeout) == ("http", timedelta(seconds=2))


def test_what_is_asked_to_know_the_network_must_not_be_this_machine(draft: Draft) -> None:
    """It answers however cut off the machine is, and then everything else would be called dead."""
    draft.insert(
        'self_check: [{kind: http, url: "http://gateway/"}, {kind: http, url: "http://localhost:9090/"}]\n'
    )

    assert [it.split(": ", 1)[1] for it in draft.notes()] == [
        "it is on this machine: that it answers says nothing of the network"
    ]


def test_limits_arrive(draft: Draft) -> None:
    assert draft.load().limits == Limits()

    draft.insert("limits: {max_rollbacks: 2 per 1h, max_breaching: {share: 50%, at_least: 7}}\n")

    assert draft.load().limits == Limits(max_rollbacks=2, per=timedelta(hours=1), max_share=0.5, at_least=7)


@pytest.mark.parametrize("rate", ["0 per 10m", "3 per 0s", "3 per fortnight", "three per 10m"])
def test_a_limit_of_nothing_is_refused(draft: Draft, rate: str) -> None:
    draft.insert(f"limits: {{max_rollbacks: {rate}}}\n")

    (problem,) = draft.problems()

    assert problem.startswith("watchdog.yaml:18:25: ")


def test_a_mistake_in_a_rule_is_told_once_and_not_again_at_its_services(draft: Draft) -> None:
    draft.replace("critical: 1%, rollback: 150%", "critical: 1ms, rollback: 150%")

    assert draft.problems() == [
        "rules.yaml:7:42: '1ms' has ms, which does not fit unit ratio; write for example 1% or 0.01"
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  - name: trips\n", "  - nmae: trips\n", "6:5: unknown key 'nmae'"),
        ("    rules: [error-rate, healthy]\n", "", "6:5: missing key 'rules'"),
        (
            "    rules: [error-rate, healthy]\n",
            "    rules: error-rate\n",
            "expected a list, found 'error-rate'",
        ),
        (
            "[error-rate, healthy]",
            "[error-rate, 7]",
            "expected the name of a rule or {tag: TAG}, found the number 7",
        ),
        ("{team: booking}", "booking", "7:13: expected a mapping, found 'booking'"),
        ("  - name: trips\n", "  - trips\n  - name: trips\n", "6:5: expected a mapping, found 'trips'"),
        ("kind: haproxy", "knd: haproxy", "10:7: unknown key 'knd'; did you mean 'kind'?"),
        ("kind: haproxy", "kind: 7", "10:13: expected text, found the number 7; quote it"),
        ("backend: trips", "backend: 7", "12:16: expected text, found the number 7; quote it"),
        ("      backend: trips\n", "", "10:7: missing key 'backend'"),
    ],
)
def test_the_wrong_thing_in_a_service_is_told_at_its_place(
    draft: Draft, old: str, new: str, said: str
) -> None:
    draft.main = draft.main.replace(old, new)

    assert any(said in problem for problem in draft.problems()), draft.problems()
