from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.config.tiny_providers import TINY
from watchdog.config.check import Summary, check
from watchdog.config.load import Registries

ROOT = Path(__file__).parents[2]
ENVIRON = {
    "WATCHDOG_CI_TOKEN": "t" * 32,
    "WATCHDOG_HOOK_SECRET": "s" * 32,
    "SLACK_BOT_TOKEN": "xoxb-" + "s" * 32,
    "PAGERDUTY_ROUTING_KEY": "R" * 32,
    "SMS_TOKEN": "m" * 32,
}
#: Names that people choose: as good with another letter, or missed by whoever refers to them.
CHOSEN = re.compile(
    r"(sources|channels|environments|escalations|mute_windows)\.[^.]+|.*\.labels\.[^.]+|.*\.variants\.[^.]+"
)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    for folder in ("config", "rules"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path / "config" / "watchdog.yaml"


def test_the_sample_is_good_with_the_real_providers() -> None:
    checked = check(ROOT / "config" / "watchdog.yaml", ENVIRON)

    assert checked.problems == ()
    assert [note.message.partition(":")[0] for note in checked.notes] == [
        "2 rules that may roll back were never back-tested",
        "18 rules are used by no service",
    ]
    assert checked.summary == Summary(
        rules=23, armed_rules=3, services=1, sources=1, channels=7, routes=2, escalations=1
    )


def test_the_sample_without_its_secrets_says_which_are_missing() -> None:
    checked = check(ROOT / "config" / "watchdog.yaml", {})

    assert [it.message for it in checked.problems] == [
        "environment variable WATCHDOG_CI_TOKEN is not set",
        "environment variable SLACK_BOT_TOKEN is not set",
        "environment variable PAGERDUTY_ROUTING_KEY is not set",
        "environment variable SMS_TOKEN is not set",
        "environment variable WATCHDOG_HOOK_SECRET is not set",
    ]
    assert checked.summary is None
    assert not checked.ok


def test_the_sample_loads_in_less_than_a_tenth_of_a_second_of_a_processor(sample: Path) -> None:
    check(sample, ENVIRON)
    took = []
    for _ in range(5):
        started = time.process_time()
        check(sample, ENVIRON)
        took.append(time.process_time() - started)

    assert min(took) < 0.1


def _keys(node: yaml.Node, path: str = "") -> Iterator[tuple[yaml.Mark, str, str]]:
    """Every key of a document: where it begins, the key, its path."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = f"{path}.{key.value}" if path else key.value
            yield key.start_mark, key.value, here
            yield from _keys(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _keys(item, f"{path}.{index}")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("registries", "turn"), [(TINY, 0), (Registries(), 1)], ids=["tiny", "real"])
@pytest.mark.parametrize("name", ["config/watchdog.yaml", "rules/web.yaml"])
def test_no_key_of_the_sample_can_be_misspelt_unnoticed(
    sample: Path, name: str, registries: Registries, turn: int
) -> None:
    """One letter of each key, first, in the middle and last by turns: every check reads all files."""
    file = sample.parent.parent / name
    text = file.read_text()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None
    keys = [it for it in _keys(root) if not CHOSEN.fullmatch(it[2])]
    assert len(keys) > 30
    for number, (mark, key, path) in enumerate(keys):
        place = (0, len(key) // 2, len(key) - 1)[(number + turn) % 3]
        start = mark.index + place
        file.write_text(text[:start] + ("x" if text[start] != "x" else "y") + text[start + 1 :])
        problems = check(sample, ENVIRON, registries=registries).problems
        told = {(it.at.file.name, it.at.line, it.at.column) for it in problems}
        assert (file.name, mark.line + 1, mark.column + 1) in told, f"{path} with letter {place} changed"


@pytest.mark.parametrize("name", ["config/watchdog.yaml", "rules/web.yaml"])
def test_no_key_of_the_sample_can_stand_twice(sample: Path, name: str) -> None:
    file = sample.parent.parent / name
    text = file.read_text()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None
    for mark, key, path in _keys(root):
        if text[mark.index - 1] != "{":
            continue
        file.write_text(f"{text[: mark.index]}{key}: 1, {text[mark.index :]}")
        problems = check(sample, ENVIRON, registries=TINY).problems
        said = [it.message for it in problems if it.at.line == mark.line + 1]
        assert any(message.startswith(f"duplicate key {key!r}") for message in said), path
