"""What a start makes of what the store has, before it knows every service."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from tests.app.conftest import Home
from tests.store import samples
from watchdog.app.restoring import left_behind, restored
from watchdog.core.incident import IncidentKind
from watchdog.core.rollback import RollbackState
from watchdog.store.interface import Saved

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def found(home: Home) -> Home:
    home.settings["discover"] = {"namespaces": ["prod"], "rules": ["error-rate"], "file": "found.yaml"}
    return home


def saved() -> Saved:
    """An incident and an intent of a service that the configuration does not name, and a source's incident."""
    here = replace(samples.incident(1), subject="stays", kind=IncidentKind.BREACH)
    source = replace(samples.incident(2), subject="graphite", kind=IncidentKind.SOURCE)
    intent = replace(samples.rollback(1, state=RollbackState.INTENDED, ended_at=None), service="stays")
    return Saved(incidents=(here, source), rollbacks=(intent,))


def ended(home: Home) -> tuple[list[str], list[str]]:
    configuration, what = home.load(), saved()
    world = restored(configuration, what, leader=True, epoch=1)
    stepped = left_behind(configuration, world, what, now=NOW)
    return [one.subject for one in stepped.incidents], [one.service for one in stepped.rollbacks]


def test_nothing_of_a_service_ends_while_nothing_was_discovered_yet(found: Home) -> None:
    assert ended(found) == (["graphite"], [])


def test_what_belongs_to_nothing_that_was_discovered_ends(found: Home) -> None:
    (found.folder / "found.yaml").write_text("services: []\n")
    assert ended(found) == (["stays", "graphite"], ["stays"])


def test_without_discovery_what_is_not_listed_ends(home: Home) -> None:
    assert ended(home) == (["stays", "graphite"], ["stays"])
