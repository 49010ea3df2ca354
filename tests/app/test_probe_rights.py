"""The rights that probes need in a cluster, for the services that use them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rules.packs import all_together
from watchdog.app.rights import needed
from watchdog.cluster.rights import Right
from watchdog.config.loaded import Configuration


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """Every rule pack, for a service whose label `namespace` is `prod`."""
    return all_together(tmp_path)


def test_a_probe_needs_its_rights_where_the_labels_of_its_service_say(configuration: Configuration) -> None:
    assert needed(configuration, []) == (
        Right(verb="list", group="", resource="pods", namespace="prod"),
        Right(verb="get", group="apps", resource="deployments", namespace="prod"),
    )
