from __future__ import annotations

from datetime import timedelta

import msgspec

from watchdog.api.presenters import present_rule
from watchdog.core.rule import Against, Baseline, Rate, Rule, Thresholds
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
