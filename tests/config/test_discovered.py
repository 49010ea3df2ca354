"""Services that were found rather than listed: read like listed ones, and never able to break the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchdog.config.load import load
from watchdog.config.loaded import Configuration
from watchdog.config.problems import InvalidConfiguration
from watchdog.config.trail import Trail

RULES = """\
version: 1
rules:
  - name: errors
    ratio: {bad: 'e{version="$version"}', total: 't{version="$version"}'}
    threshold: {critical: 1%, rollback: 150%}
"""
MAIN = """\
version: 1
rules: [rules.yaml]
sources: {prometheus: {kind: prometheus, url: "http://127.0.0.1:9090"}}
discover: {namespaces: [prod], rules: [errors], file: found.yaml}
"""
TRIPS = """\
  # deployments prod/trips
  - name: trips
    environment: production
    labels: {}
    rules: [errors]
    mode: observe
    traffic: {kind: kubernetes-deployment, namespace: prod, deployment: trips}
"""
STAYS = TRIPS.replace("trips", "stays")


def loaded(folder: Path, found: str | None, main: str = MAIN) -> Configuration:
    (folder / "rules.yaml").write_text(RULES)
    (folder / "watchdog.yaml").write_text(main)
    if found is not None:
        (folder / "found.yaml").write_text(f"services:\n{found}" if found else "services: []\n")
    return load(folder / "watchdog.yaml", environ={})


def test_what_is_found_is_a_service_like_any_other(tmp_path: Path) -> None:
    configuration = loaded(tmp_path, TRIPS)
    assert configuration.services["trips"].traffic.kind == "kubernetes-deployment"
    assert configuration.services["trips"].service.mode == "observe"


@pytest.mark.parametrize("found", [None, ""])
def test_nothing_found_yet_is_no_mistake(tmp_path: Path, found: str | None) -> None:
    assert loaded(tmp_path, found).services == {}


def test_a_service_with_a_mistake_is_left_out_and_told_and_the_others_stay(tmp_path: Path) -> None:
    configuration = loaded(tmp_path, TRIPS.replace("[errors]", "[erorrs]") + STAYS)
    assert set(configuration.services) == {"stays"}
    (note,) = [note for note in configuration.notes if note.at.file.name == "found.yaml"]
    assert note.message.startswith("left out: unknown rule 'erorrs'; did you mean 'errors'?")
    assert note.at.line == 6


@pytest.mark.parametrize("text", ["", "services: [", "services: 7\n", "other: []\n", "\x00"])
def test_a_file_that_says_nothing_is_not_taken_for_no_services(tmp_path: Path, text: str) -> None:
    loaded(tmp_path, TRIPS)
    (tmp_path / "found.yaml").write_text(text)
    with pytest.raises(InvalidConfiguration) as refused:
        load(tmp_path / "watchdog.yaml", environ={})
    assert "found.yaml:1:" in str(refused.value)


def test_a_listed_service_wins_over_a_found_one_of_its_name(tmp_path: Path) -> None:
    listed = MAIN + "services:\n" + TRIPS.replace("observe", "enforce")
    configuration = loaded(tmp_path, TRIPS, listed)
    assert configuration.services["trips"].service.mode == "enforce"
    assert any("left out: duplicate service 'trips'" in note.message for note in configuration.notes)


def test_of_two_that_ask_for_one_name_the_first_has_it(tmp_path: Path) -> None:
    other = TRIPS.replace("deployment: trips", "deployment: trips-2")
    configuration = loaded(tmp_path, TRIPS + other)
    assert configuration.services["trips"].traffic.settings.model_dump()["deployment"] == "trips"


@pytest.mark.parametrize("more", ["timeout: 9s", "version_label: app", "scaled_to_zero: allow"])
def test_an_annotation_on_what_is_listed_otherwise_leaves_the_listed_service_as_it_is(
    tmp_path: Path, more: str
) -> None:
    listed = TRIPS.replace("name: trips", "name: rides").replace(
        "deployment: trips}", f"deployment: trips, {more}}}"
    )
    configuration = loaded(tmp_path, TRIPS + STAYS, f"{MAIN}services:\n{listed}")
    assert set(configuration.services) == {"rides", "stays"}
    assert any("left out: the same switch as service 'rides'" in note.message for note in configuration.notes)


def test_no_secret_can_be_asked_for_in_the_file(tmp_path: Path) -> None:
    """The watchdog writes no tags: annotations are quoted. Who else wrote one is not believed at all."""
    (tmp_path / "secret").write_text("canary")
    with pytest.raises(InvalidConfiguration) as refused:
        loaded(tmp_path, TRIPS.replace("name: trips", "name: !file secret"))
    assert "!file cannot stand" in str(refused.value)
    assert "canary" not in str(refused.value)


def test_a_mistake_in_the_configuration_itself_is_still_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        loaded(tmp_path, TRIPS, MAIN.replace("rules: [errors]", "rules: [erorrs]"))
    assert "unknown rule 'erorrs'; did you mean 'errors'?" in str(refused.value)
    assert "watchdog.yaml:4:" in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("namespaces: [prod], kinds: [Deployment]", "'Deployment' is not one of deployments, services"),
        ("namespaces: []", "an empty list: at least 1 is needed"),
        ("namespaces: prod", "expected a list, found 'prod'"),
    ],
)
def test_where_to_look_is_told_once_where_it_is_wrong(tmp_path: Path, wrong: str, words: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        loaded(tmp_path, None, MAIN.replace("namespaces: [prod]", wrong))
    (problem,) = refused.value.problems
    assert problem.message.startswith(words)


def test_without_discovery_somebody_must_be_listed(tmp_path: Path) -> None:
    main = "\n".join(line for line in MAIN.splitlines() if not line.startswith("discover")) + "\n"
    with pytest.raises(InvalidConfiguration) as refused:
        loaded(tmp_path, TRIPS, main)
    assert "`services` must name at least one service" in str(refused.value)


def test_the_file_is_among_what_a_reload_looks_at(tmp_path: Path) -> None:
    (tmp_path / "found.yaml").write_text("services: []\n")
    loaded(tmp_path, "")
    trail = Trail()
    load(tmp_path / "watchdog.yaml", environ={}, trail=trail)
    assert trail.again() == trail
    (tmp_path / "found.yaml").write_text(f"services:\n{TRIPS}")
    assert trail.again() != trail
