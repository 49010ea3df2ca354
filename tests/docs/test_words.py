"""What the pages say of words that the code holds: none may be missing, and none may be made up."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import PAGES, ROOT, name_of
from watchdog.cli.looking import alarms
from watchdog.cli.main import app
from watchdog.core import guards, targets
from watchdog.core.check import Reason
from watchdog.core.deployment import DeploymentState
from watchdog.core.guards import GUARDS
from watchdog.core.incident import IncidentKind
from watchdog.core.message import MessageKind
from watchdog.core.observation import FailReason, NoDataReason
from watchdog.core.rollback import ENDS, RollbackState

_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_ROW = re.compile(r"^\| `([a-z_]+)` \|", re.MULTILINE)


def section(page: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its rank or higher."""
    text = (ROOT / page).read_text()
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found is not None, f"{page} has no heading {heading!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(page: str, heading: str) -> list[str]:
    """The words in the first column of the tables below a heading."""
    return _ROW.findall(section(page, heading))


def texts_in(module: Any) -> set[str]:
    """Fixed words of a module: `reason="…"` of vetoes, and the first words of pairs and problems."""
    tree = ast.parse(Path(str(module.__file__)).read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found |= {
                str(word.value.value)
                for word in node.keywords
                if word.arg in {"reason", "problem"} and isinstance(word.value, ast.Constant)
            }
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant):
            found.add(str(node.elts[0].value))
    return {word for word in found if re.fullmatch(r"[a-z]+(_[a-z]+)*", word)}


def test_every_reason_of_a_verdict_is_explained() -> None:
    assert sorted(rows("docs/why-not.md", "Verdicts")) == sorted(Reason)


def test_every_guard_is_explained() -> None:
    assert rows("docs/why-not.md", "Guards") == list(GUARDS)


def test_every_guard_and_every_state_says_what_a_person_should_do() -> None:
    for heading in ("Verdicts", "Incidents", "Guards", "Vetoes", "Deployments", "Rollbacks"):
        for line in section("docs/why-not.md", heading).splitlines():
            if line.startswith("| "):
                assert all(cell.strip() for cell in line.strip("|").split(" | ")), line
                columns = line.count(" | ") + 1
                assert columns == (4 if heading == "Guards" else 3), line


def test_the_guards_that_are_asked_twice_and_that_people_skip_are_those_of_the_code() -> None:
    twice, skipped = section("docs/why-not.md", "Guards").split("\n\n")[1].split("A rollback that a person")
    assert set(re.findall(r"`(\w+)`", twice)) == set(guards.BEFORE_WRITE)
    assert set(re.findall(r"`(\w+)`", skipped)) == guards.SKIPPED_FOR_PEOPLE


def test_every_reason_why_there_is_no_number_is_a_reason_of_a_verdict() -> None:
    assert {str(it) for it in [*NoDataReason, *FailReason]} <= {str(it) for it in Reason}


def test_every_line_below_the_status_is_explained() -> None:
    lines = alarms(
        {
            "paused_by_file": True,
            "breaker": "too much is red",
            "cut_off_at": "2026-11-21T09:00:00Z",
            "store_error": "disk full",
            "config_fault": "rules.yaml:1:1: no",
            "leader": False,
            "silences": 1,
            "sources": [{"name": "prometheus", "up": False, "error": "timeout"}],
        }
    )
    known = re.findall(r"^\| `(\w+)` \|", section("docs/why-not.md", "Lines below the status"), re.MULTILINE)
    assert [line.split()[0] for line in lines] == known


def test_every_reason_of_a_veto_is_explained() -> None:
    known = texts_in(guards) | texts_in(targets) | {"target_changed"}
    assert sorted(rows("docs/why-not.md", "Vetoes")) == sorted(known)


def test_every_state_of_a_rollback_is_explained() -> None:
    assert rows("docs/why-not.md", "Rollbacks") == list(RollbackState)


def test_every_state_of_a_deployment_is_explained() -> None:
    assert rows("docs/why-not.md", "Deployments") == list(DeploymentState)


def test_every_kind_of_incident_is_explained() -> None:
    assert rows("docs/why-not.md", "Incidents") == list(IncidentKind)


def test_every_end_of_a_rollback_has_a_way_out() -> None:
    assert sorted(rows("docs/operations.md", "After a rollback")) == sorted(ENDS)


def test_every_kind_of_message_is_listed() -> None:
    assert rows("docs/webhook.md", "Kinds") == list(MessageKind)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_is_named_exists(page: Path) -> None:
    for file, name in _TEST.findall(page.read_text()):
        tree = ast.parse((ROOT / file).read_text())
        tests = {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in tests, f"{page.name}: {file}::{name}"


def test_every_promise_names_its_tests() -> None:
    lines = [line for line in section("README.md", "Promises").splitlines() if line.startswith("| ")][2:]
    assert len(lines) >= 5
    for line in lines:
        assert _TEST.search(line), line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_is_named_exists(page: Path) -> None:
    groups = {group.name for group in app.registered_groups}
    names = {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }
    for name in re.findall(r"`watchdog ([a-z-]+)", page.read_text()):
        assert name in names | groups, f"{page.name}: watchdog {name}"
