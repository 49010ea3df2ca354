"""`slo`: objectives as people write them, and what the rule is then."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.test_baseline import MAIN, PROMETHEUS, SCRAPE
from tests.config.tiny_providers import TINY
from watchdog.config.load import Registries, load
from watchdog.config.problems import InvalidConfiguration
from watchdog.core.burning import BurnLimit, Slo
from watchdog.core.rule import Evidence, Holds, Lasting, Rule, Samples, Thresholds, Unit

H, M = timedelta(hours=1), timedelta(minutes=1)
RATIO = """ratio: {bad: 'errors_total{version="$version"}', total: 'requests_total{version="$version"}'}"""


def _rule(
    folder: Path, slo: str, *, more: str = "", source: str = PROMETHEUS, registries: Registries | None = TINY
) -> Rule:
    (folder / "main.yaml").write_text(MAIN.format(source=source))
    keys = f"{RATIO}\nslo: {slo}\n{more}".strip()
    lines = "".join(f"    {line}\n" for line in keys.splitlines())
    (folder / "rules.yaml").write_text(f"version: 1\nrules:\n  - name: it\n{lines}")
    return load(folder / "main.yaml", environ={}, registries=registries).rules["it"]


def _told(folder: Path, slo: str, *, source: str) -> list[str]:
    with pytest.raises(InvalidConfiguration) as refused:
        _rule(folder, slo, source=source, registries=None)
    return [problem.message for problem in refused.value.problems]


def test_an_objective_alone_takes_the_windows_of_the_workbook(tmp_path: Path) -> None:
    rule = _rule(tmp_path, "{objective: 99.9%}")
    assert rule.slo == Slo(
        objective=0.999,
        warning=BurnLimit(factor=1.0, long=72 * H, short=6 * H),
        critical=BurnLimit(factor=6.0, long=6 * H, short=30 * M),
        rollback=BurnLimit(factor=14.4, long=1 * H, short=5 * M),
    )
    assert rule.thresholds == Thresholds(warning=1.0, critical=6.0, rollback=14.4)
    assert rule.window == 5 * M
    assert rule.windows == (30 * M, 1 * H, 6 * H, 72 * H)
    assert rule.unit is Unit.TIMES
    assert rule.hold == Holds(warning=Samples(2), critical=Samples(2), rollback=Samples(2))
    assert rule.evidence == Evidence(excess=0.0)
    assert rule.can_roll_back


@pytest.mark.parametrize(
    "critical", ["", "~", ".nan", "1e400", "2026-01-01", "{long: .inf}", "{short: 0x10}", '"\\x00"']
)
def test_a_level_that_is_no_value_at_all_is_a_mistake_at_its_place(tmp_path: Path, critical: str) -> None:
    for burn in (f"{{critical: {critical}}}", f"{{warning: {{rate: 1}}, critical: {critical}}}"):
        with pytest.raises(InvalidConfiguration) as refused:
            _rule(tmp_path, f"{{objective: 99.9%, burn: {burn}}}")
        assert {problem.at.line for problem in refused.value.problems} == {5}


def test_an_objective_can_be_written_as_a_number(tmp_path: Path) -> None:
    assert _rule(tmp_path, "{objective: 0.995}") == _rule(tmp_path, "{objective: 99.5%}")


def test_what_burn_leaves_out_is_never_reached_and_what_a_level_leaves_out_is_the_default(
    tmp_path: Path,
) -> None:
    slo = _rule(tmp_path, "{objective: 99%, burn: {rollback: {rate: 10x}}}").slo
    assert slo is not None
    assert slo.limits == {"rollback": BurnLimit(factor=10.0, long=1 * H, short=5 * M)}
    slo = _rule(tmp_path, "{objective: 99%, burn: {critical: {long: 2h, short: 10m}, rollback: {}}}").slo
    assert slo is not None
    assert slo.critical == BurnLimit(factor=6.0, long=2 * H, short=10 * M)
    assert slo.rollback == Slo(objective=0.9).rollback


def test_a_percentage_at_rollback_is_a_share_of_criticals_rate_over_its_windows(tmp_path: Path) -> None:
    written = "{objective: 99.9%, burn: {critical: {rate: 9.6, long: 1h, short: 5m}, rollback: 150%}}"
    slo = _rule(tmp_path, written).slo
    assert slo is not None
    assert slo.rollback == BurnLimit(factor=14.4, long=1 * H, short=5 * M)


def test_hold_and_evidence_are_those_that_are_written(tmp_path: Path) -> None:
    more = "hold: {critical: 2m, rollback: 3 samples}\nevidence: {min_events: 500, confidence: 95%}"
    rule = _rule(tmp_path, "{objective: 99.9%}", more=more)
    assert rule.hold == Holds(warning=Samples(2), critical=Lasting(2 * M), rollback=Samples(3))
    assert rule.evidence == Evidence(min_events=500, confidence=0.95, excess=0.0)
    assert _rule(tmp_path, "{objective: 99.9%}", more="evidence: none").evidence is None


def test_a_source_that_remembers_an_hour_says_which_windows_are_too_long(tmp_path: Path) -> None:
    assert _told(tmp_path, "{objective: 99.9%}", source=SCRAPE) == [
        "a window of 3d is longer than a scrape source remembers (1h); write shorter ones in `burn`"
    ]
    written = "{objective: 99.9%, burn: {critical: {rate: 6, long: 2h, short: 30m}, rollback: {rate: 14.4}}}"
    assert _told(tmp_path, written, source=SCRAPE) == [
        "a window of 2h is longer than a scrape source remembers (1h)"
    ]
    written = "{objective: 99.9%, burn: {rollback: {rate: 14.4, long: 1h, short: 5s}}}"
    assert _told(tmp_path, written, source=SCRAPE) == [
        "a window of 5s is shorter than two scrapes of it, one each 5s"
    ]


def test_a_source_that_remembers_an_hour_takes_windows_within_it(tmp_path: Path) -> None:
    written = "{objective: 99.9%, burn: {critical: {rate: 6, long: 1h, short: 10m}, rollback: 200%}}"
    rule = _rule(tmp_path, written, source=SCRAPE, registries=None)
    assert rule.windows == (1 * H,)


@given(st.decimals(min_value="0.0001", max_value="99.9999", places=4))
def test_a_budget_is_what_the_objective_leaves_to_the_last_digit(percent: object) -> None:
    objective = float(f"{percent}") / 100
    assert Slo(objective=objective).budget == pytest.approx(1 - objective, rel=1e-9)


def test_a_budget_has_no_rounding_of_its_own() -> None:
    assert Slo(objective=0.999).budget == 0.001
    assert Slo(objective=0.995).budget == 0.005
