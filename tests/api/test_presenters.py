from __future__ import annotations

from datetime import timedelta

import msgspec

from watchdog.api.presenters import present_rule
from watchdog.core.burning import Slo
from watchdog.core.rule import Against, Baseline, Rate, Ratio, Rule, Thresholds, Unit
from watchdog.core.two_samples import TwoSample


def test_a_rule_with_a_baseline_shows_what_it_compares_with_and_no_thresholds() -> None:
    margins = Thresholds(critical=0.5, rollback=0.75)
    baseline = Baseline(against=Against.EARLIER, ago=timedelta(hours=24), margins=margins)
    rule = Rule(name="requests", form=Rate(of="requests_total"), baseline=baseline)
    shown = msgspec.to_builtins(present_rule(rule, ("trips",)))

    assert shown["thresholds"] == {}
    assert shown["baseline"] == {
        "against": "earlier",
        "ago_seconds": 86400.0,
        "over_seconds": None,
        "worse_by": {"critical": 0.5, "rollback": 0.75},
        "test": None,
    }
    baseline = msgspec.structs.replace(baseline, over=timedelta(days=14), test=TwoSample())
    shown = msgspec.to_builtins(present_rule(msgspec.structs.replace(rule, baseline=baseline), ()))
    assert shown["baseline"]["over_seconds"] == 1209600.0
    assert shown["baseline"]["test"] == {"confidence": 0.99, "effect": 0.71, "samples": 20}
    plain = msgspec.structs.replace(rule, baseline=None, thresholds=margins)
    assert msgspec.to_builtins(present_rule(plain, ()))["baseline"] is None


def test_a_rule_with_an_objective_shows_its_burn_rates_and_windows() -> None:
    slo = Slo(objective=0.999, warning=None, critical=None)
    rule = Rule(
        name="error-budget",
        form=Ratio(bad="bad", total="total"),
        slo=slo,
        thresholds=Thresholds(rollback=14.4),
        unit=Unit.TIMES,
        window=timedelta(minutes=5),
    )
    shown = msgspec.to_builtins(present_rule(rule, ("trips",)))

    burn = {"rate": 14.4, "long_seconds": 3600.0, "short_seconds": 300.0}
    assert shown["slo"] == {"objective": 0.999, "burn": {"rollback": burn}}
    assert (shown["unit"], shown["thresholds"]) == ("times", {"rollback": 14.4})
    assert msgspec.to_builtins(present_rule(msgspec.structs.replace(rule, slo=None), ()))["slo"] is None
