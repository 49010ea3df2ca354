"""Which files a pattern of rules names: tests of rules stand beside them and are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from watchdog.config.check import check
from watchdog.config.load import InvalidConfiguration, load
from watchdog.config.loaded import Configuration

RULES = """version: 1
rules:
  - name: errors
    ratio: {bad: 'bad{version="$version"}', total: 'all{version="$version"}'}
    threshold: {critical: 1%, rollback: 150%}
"""


def loaded(folder: Path, *patterns: str) -> Configuration:
    main = {
        "version": 1,
        "rules": list(patterns),
        "sources": {"prometheus": {"kind": "prometheus", "url": "http://127.0.0.1:9090"}},
        "channels": {"log": {"kind": "log"}},
        "routes": [{"to": ["log"]}],
        "services": [
            {
                "name": "trips",
                "rules": ["errors"],
                "traffic": {"kind": "command", "read": ["x"], "apply": ["y", "{variant}"]},
            }
        ],
    }
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "watchdog.yaml").write_text(yaml.safe_dump(main))
    return load(folder / "watchdog.yaml", environ={})


@pytest.mark.parametrize("name", ["web.test.yaml", "web.test.yml"])
def test_a_pattern_leaves_tests_of_rules_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/web.yaml").write_text(RULES)
    (tmp_path / "rules" / name).write_text("version: 1\nrules: [web.yaml]\ntests: []\n")
    assert list(loaded(tmp_path, "rules/*.y*ml").rules) == ["errors"]


def test_naming_a_file_of_tests_as_rules_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/web.yaml").write_text(RULES)
    (tmp_path / "rules/web.test.yaml").write_text("version: 1\nrules: [web.yaml]\ntests: []\n")
    with pytest.raises(InvalidConfiguration, match="names tests of rules, which `watchdog rules test` plays"):
        loaded(tmp_path, "rules/web.yaml", "rules/web.test.yaml")
    assert len(check(tmp_path / "watchdog.yaml", {}).problems) == 1


def test_a_rule_whose_name_only_looks_like_a_tests_is_a_rule(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/test.yaml").write_text(RULES)
    assert list(loaded(tmp_path, "rules/*.yaml").rules) == ["errors"]
