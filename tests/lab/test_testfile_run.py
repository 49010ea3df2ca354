"""Coverage, reports and schema of rule tests, beside what the command prints of them."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import count
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from jsonschema import Draft7Validator

from watchdog.config.json_schema import written
from watchdog.core.rule import Against, Aggregate, Baseline, Gauge, Level, Rule, Thresholds
from watchdog.lab import testfile_schema
from watchdog.lab.coverage import levels_of, reached, unreached
from watchdog.lab.junit import junit
from watchdog.lab.recording import Happening, Recording, What
from watchdog.lab.testfile_run import Ran, covered, run

ROOT = Path(__file__).parents[2]
GAUGE = Gauge(of="x", by=Aggregate.MAX)
TESTS = sorted((ROOT / "rules").glob("*.test.yaml"))


def rule(name: str, **limits: float) -> Rule:
    return Rule(name=name, form=GAUGE, thresholds=Thresholds(**limits))


def verdicts(*found: tuple[str, str]) -> Recording:
    return Recording(
        script="x",
        happenings=tuple(
            Happening(at=timedelta(), what=What.VERDICT, facts={"rule": name, "level": level})
            for name, level in found
        ),
    )


def test_the_levels_of_a_rule_are_those_it_has_a_limit_for() -> None:
    assert levels_of(rule("a", warning=1, rollback=3)) == (Level.WARNING, Level.ROLLBACK)
    baseline = Baseline(against=Against.EARLIER, margins=Thresholds(critical=0.5), ago=timedelta(days=1))
    assert levels_of(Rule(name="b", form=GAUGE, baseline=baseline)) == (Level.CRITICAL,)


def test_what_no_test_reached_is_left() -> None:
    rules = {"b": rule("b", warning=1, critical=2), "a": rule("a", critical=2), "c": rule("c", critical=1)}
    seen = reached([verdicts(("b", "warning"), ("c", "critical")), verdicts(("a", "ok"), ("b", "unknown"))])
    assert unreached(rules, seen) == {"a": (Level.CRITICAL,), "b": (Level.CRITICAL,)}


RULES = """version: 1
rules:
  - name: slow
    gauge: {of: 'slow{service="$service"}', by: max}
    threshold: {warning: 1, critical: 2}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    return tmp_path


def ran(folder: Path, name: str, value: str) -> Ran:
    file = folder / f"{name}.test.yaml"
    file.write_text(
        f"version: 1\nrules: [rules.yaml]\ntests: [{{name: '{name}', series: {{slow: '{value}'}}, strict: true}}]\n"
    )
    ticks = count()
    return run(file, environ={}, timer=lambda: float(next(ticks)))


def test_files_that_test_the_same_rules_cover_them_together(folder: Path) -> None:
    found = covered([ran(folder, "a", "1.5"), ran(folder, "b", "0.5")])
    assert (found.rules, found.levels, found.reached) == (1, 2, 1)
    assert found.missing == (("slow", (Level.CRITICAL,)),)
    found = covered([ran(folder, "a", "1.5"), ran(folder, "b", "2.5")])
    assert (found.reached, found.missing) == (2, ())


def test_other_rules_of_the_same_name_are_other_rules(folder: Path) -> None:
    first = ran(folder, "a", "1.5")
    (folder / "rules.yaml").write_text(RULES.replace("critical: 2", "critical: 3"))
    assert covered([first, ran(folder, "b", "1.5")]).levels == 4


def test_a_report_takes_names_that_no_document_may_contain() -> None:
    broken = Ran(path=Path("a\x01b<&>\ud800.yaml"))
    (suite,) = ET.fromstring(junit([broken]))  # noqa: S314 - we wrote it
    assert suite.get("name") == "a\ufffdb<&>\ufffd.yaml"
    assert suite.get("tests") == "0"


def test_the_schema_in_the_docs_is_the_models() -> None:
    shown = (ROOT / "docs/schema/rule-tests.schema.json").read_text()
    assert shown == written(testfile_schema.tests_schema()), "python -m tests.docs.rewrite"


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_the_schema_takes_every_test_of_the_packs(file: Path) -> None:
    validator = Draft7Validator(testfile_schema.tests_schema())
    faults = [
        f"{one.json_path}: {one.message[:200]}"
        for one in validator.iter_errors(yaml.safe_load(file.read_text()))
    ]
    assert faults == []


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nrules: [a]\ntests: []",
        "version: 1\ntests: [{name: x}]",
        "version: 1\nrules: [a]\ntests: [{name: x, serie: {}}]",
        "version: 1\nrules: [a]\ntests: [{name: x, expect: [{verdict: critcal}]}]",
        "version: 1\nrules: [a]\ntests: [{name: x, expect: [{verdict: {leve: ok}}]}]",
        "version: 1\nrules: [a]\ntests: [{name: x, events: [{at: 1m}]}]",
        "version: 1\nrules: [a]\ntests: [{name: x, events: [{at: 1m, pause: a, resume: b}]}]",
    ],
)
def test_the_schema_refuses_plain_mistakes(text: str) -> None:
    assert not Draft7Validator(testfile_schema.tests_schema()).is_valid(yaml.safe_load(text))


def test_the_schema_is_one_that_editors_read() -> None:
    Draft7Validator.check_schema(json.loads(written(testfile_schema.tests_schema())))
