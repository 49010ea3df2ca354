"""Rules that compare, played as a whole: what is usual, and two versions told apart, up to the switch."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from watchdog.lab.testfile_run import run

RULES = """\
version: 1
rules:
  - name: latency
    unit: seconds
    quantile: {of: 'seconds{service="$service",version="$version"}', q: 0.95}
    baseline: {against: previous-version, worse_by: {critical: 20%, rollback: 150%}, test: mann-whitney}
  - name: usual
    unit: seconds
    quantile: {of: 'seconds{service="$service",version="$version"}', q: 0.95}
    baseline: {against: usual, over: 1h, worse_by: {warning: 4 deviations, rollback: 6 deviations}}
"""
TESTS = """\
version: 1
rules: [rules.yaml]
every: 30s
tests:
  - name: a slow canary loses its traffic when ten of its values say so
    series:
      latency@v1: {samples: 200ms x160, events: 20000}
      latency@v2: {samples: "none x110, 400ms x50", events: 1000}
      usual@v1: {samples: 200ms x160, events: 20000}
      usual@v2: {samples: "none x110, 210ms x50", events: 1000}
    events:
      - {at: 55m, patch: {blue: {weight: 95, version: v1}, green: {weight: 5, version: v2}}}
    expect:
      - {verdict: {rule: latency, version: v1, level: unknown, reason: no_reference}, by: 50m}
      - {verdict: {rule: latency, version: v2, level: unknown, reason: no_reference}, within: [56m, 64m]}
      - {switch: {from: v2, to: v1}, within: [64m, 67m], times: 1}
      - {rollback: completed, by: 70m}

  - name: a canary that is as slow now and then is not told apart from the old version
    series:
      latency@v1: {samples: 200ms x160, events: 20000}
      latency@v2: {samples: "none x110, 200ms x40, 400ms, 200ms x9", events: 1000}
      usual@v1: {samples: 200ms x160, events: 20000}
      usual@v2: {samples: "none x110, 200ms x50", events: 1000}
    events:
      - {at: 55m, patch: {blue: {weight: 95, version: v1}, green: {weight: 5, version: v2}}}
    expect:
      - {verdict: {rule: latency, version: v2, level: ok, reason: not_significant}, within: [75m, 75m30s]}
      - {incident: any, never: true}
      - {switch: any, never: true}

  - name: what is far beyond what was usual is rolled back at once
    series:
      latency@v1: {samples: none x160, events: 20000}
      latency@v2: {samples: none x160, events: 1000}
      usual@v1: {samples: "200ms x110, none x10, 200ms x40", events: 20000}
      usual@v2: {samples: "none x110, 900ms x50", events: 20000}
    events:
      - {at: 55m, deploy: v2}
    expect:
      - {verdict: {rule: usual, version: v1, level: unknown, reason: no_reference}, by: 10m}
      - {verdict: {rule: usual, version: v1, level: ok}, within: [20m, 54m]}
      - {switch: {from: v2, to: v1}, within: [55m, 58m], times: 1}
"""


@pytest.mark.timeout(60)
def test_rules_that_compare_do_what_their_pages_say(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "rules.test.yaml").write_text(TESTS)
    ran = run(tmp_path / "rules.test.yaml", environ={}, timer=time.perf_counter)

    assert [str(problem) for problem in ran.problems] == []
    assert [(one.case.name, one.failed) for one in ran.outcomes if not one.ok] == []
