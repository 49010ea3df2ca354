"""Every key of every sample and of every rule pack, misspelt: refused at its place, or another configuration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from watchdog.config.load import InvalidConfiguration, load
from watchdog.config.loaded import Configuration
from watchdog.config.rule_files import is_test

ROOT = Path(__file__).parents[2]
ENVIRON = {"WATCHDOG_CI_TOKEN": "t" * 32, "WATCHDOG_HOOK_SECRET": "s" * 32}
#: The largest sample and its rules are tried in test_sample.py.
SAMPLES = sorted(path.stem for path in (ROOT / "config").glob("*.yaml") if path.stem != "watchdog")
PACKS = sorted(path.stem for path in (ROOT / "rules").glob("*.yaml") if not is_test(path.name))
FILES = [*(f"config/{name}.yaml" for name in SAMPLES), *(f"rules/{name}.yaml" for name in PACKS)]
LABELS = (
    '{team: booking, hosts: "trips-[0-9]+:9100", database: trips, postgres: "trips-db:9187", namespace: prod}'
)
ARMED = """version: 1
rules:
  - {name: armed, query: 'a{version="$version"}', evidence: none, threshold: {critical: 1, rollback: 150%}}
"""


def keys(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Every key of a document."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield from keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from keys(item)


def meaning(configuration: Configuration) -> dict[str, Any]:
    """What a configuration says, without where it stands and what is warned of."""
    said = {
        name: getattr(configuration, name) for name in ("rules", "sources", "services", "channels", "routes")
    }
    said["sources"] = {name: it.settings for name, it in configuration.sources.items()}
    said["channels"] = {name: it.settings for name, it in configuration.channels.items()}
    said["services"] = {
        name: (it.service, it.traffic.settings, it.ready and it.ready.settings)
        for name, it in configuration.services.items()
    }
    return said


def using(folder: Path, pack: str) -> Path:
    """The smallest sample with one pack and all of its rules, beside a rule that is armed."""
    (folder / "rules" / "armed.yaml").write_text(ARMED)
    main = folder / "config" / "staging.yaml"
    text = main.read_text().replace("{team: booking}", LABELS)
    text = text.replace("../rules/web.yaml", f"../rules/{pack}.yaml, ../rules/armed.yaml")
    text = text.replace("{tag: web}", f"{{tag: {pack}}}, armed")
    main.write_text(text)
    return main


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", FILES)
def test_a_misspelt_key_is_refused_at_its_place_or_changes_what_is_said(tmp_path: Path, name: str) -> None:
    for folder in ("config", "rules"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    file = tmp_path / name
    main = file if name.startswith("config/") else using(tmp_path, file.stem)
    before = meaning(load(main, environ=ENVIRON))
    text = file.read_text()
    refused = 0
    for key in keys(yaml.compose(text, Loader=yaml.SafeLoader)):
        at = key.start_mark.index + len(key.value) // 2
        file.write_text(text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :])
        try:
            changed = load(main, environ=ENVIRON)
        except InvalidConfiguration as invalid:
            refused += 1
            lines = {it.at.line for it in invalid.problems if it.at.file.name == file.name}
            assert lines, f"{key.value!r} misspelt: nothing is told of {file.name}"
        else:
            assert meaning(changed) != before, (
                f"{key.value!r} in line {key.start_mark.line + 1} changes nothing"
            )
    assert refused >= 12
