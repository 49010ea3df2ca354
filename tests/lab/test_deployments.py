from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.configured import configured
from watchdog.config.loaded import Configuration
from watchdog.config.problems import InvalidConfiguration
from watchdog.core.deployment import Deployment, DeploymentState, Origin
from watchdog.core.turn import Turn
from watchdog.lab.deployments import Deployments, Serving, read_deployments, stored_deployments
from watchdog.store.registry import make_store

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

CSV = """service,version,variant,started_at,ended_at
trips,v1,blue,2026-01-01T12:00:00Z,2026-01-01T13:00:00Z
trips,v2,green,2026-01-01T13:00:00Z,
hotels,v7,blue,2026-01-01T12:30:00Z,
"""
ENTRIES = [
    {
        "service": "trips",
        "version": "v1",
        "variant": "blue",
        "started_at": "2026-01-01T12:00:00Z",
        "ended_at": "2026-01-01T13:00:00Z",
    },
    {"service": "trips", "version": "v2", "variant": "green", "started_at": "2026-01-01T13:00:00Z"},
    {"service": "hotels", "version": "v7", "variant": "blue", "started_at": "2026-01-01T12:30:00Z"},
]
YAML = """
deployments:
  - {service: trips, version: v1, variant: blue, started_at: 2026-01-01T12:00:00Z, ended_at: "2026-01-01T13:00:00Z"}
  - service: trips
    version: v2
    variant: green
    started_at: "2026-01-01T13:00:00Z"
    state: stable
  - {service: hotels, version: v7, variant: blue, started_at: 2026-01-01T12:30:00Z}
"""
KNOWN = (
    Serving(service="trips", version="v1", variant="blue", started_at=T0, ended_at=T0 + HOUR),
    Serving(service="hotels", version="v7", variant="blue", started_at=T0 + HOUR / 2),
    Serving(service="trips", version="v2", variant="green", started_at=T0 + HOUR),
)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


Written = Callable[[str, str], Path]


def problems(path: Path) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        read_deployments(path)
    return [str(one).removeprefix(f"{path}:") for one in caught.value.problems]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d.csv", CSV),
        ("d.yaml", YAML),
        ("d.json", json.dumps(ENTRIES)),
        ("items.json", json.dumps({"items": [{"ended_at": None, **one} for one in ENTRIES], "next": None})),
        ("d.json", json.dumps({"deployments": ENTRIES}, indent=2)),
    ],
    ids=["csv", "yaml", "json", "as the API answers", "json with a key"],
)
def test_deployments_are_read_from_a_file(written: Written, name: str, text: str) -> None:
    assert read_deployments(written(name, text)).known == KNOWN


def test_the_next_deployment_of_a_service_ends_one_that_does_not_say_when(written: Written) -> None:
    path = written(
        "d.csv",
        "Service,Version,Variant,Started_At\ntrips,v3,blue,1/13/2026 2:00\ntrips,v1,blue,1/1/2026 2:00\n"
        "hotels,v9,blue,1/5/2026 2:00\ntrips,v2,blue,1/4/2026 2:00\n",
    )
    found = read_deployments(path)
    assert [(one.version, one.ended_at and one.ended_at.day) for one in found.of("trips")] == [
        ("v1", 4),
        ("v2", 13),
        ("v3", None),
    ]
    assert found.moments("hotels") == (datetime(2026, 1, 5, 2, tzinfo=UTC).timestamp(),)


def test_services_that_are_not_configured_are_left_out_and_said(written: Written) -> None:
    path = written("d.csv", CSV)
    found = read_deployments(path, ["trips"])
    assert {one.service for one in found.known} == {"trips"}
    assert found.notes == (f"{path}: unknown service 'hotels' (known: trips); left out",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            [
                (
                    "1:1: no column service, version, variant, started_at; the first line must name service, version, "
                    "variant, started_at, found nothing"
                )
            ],
        ),
        (
            "service,version,varient,started_at\ntrips,v1,blue,2026-01-01\n",
            [
                (
                    "1:1: no column variant; the first line must name service, version, variant, started_at, found "
                    "'service', 'version', 'varient', 'started_at'"
                ),
                "1:17: unknown column 'varient'; did you mean 'variant'?",
            ],
        ),
        (
            (
                "service,version,variant,started_at,ended_at\ntrips,,blue,2026-01-01,\n\n"
                '"trips",v1,blue,soon,\ntrips,v2,blue\ntrips,v3,blue,2026-01-02,1.2.2026\n'
            ),
            [
                "2:7: no version",
                "4:17: 'soon' is not a time such as 2018-06-17 00:00:00",
                "5:14: no started_at",
                "6:26: '1.2.2026' is not a time such as 2018-06-17 00:00:00",
            ],
        ),
        (
            "service,version,variant,started_at,ended_at\ntrips,v1,blue,2026-01-02,2026-01-01\n",
            ["2:26: ended_at is before started_at"],
        ),
    ],
    ids=["empty", "a misspelt column", "mistakes in rows", "the end before the begin"],
)
def test_mistakes_in_csv_are_told_at_once_at_their_places(
    written: Written, text: str, expected: list[str]
) -> None:
    assert problems(written("d.csv", text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: 1\n",
            [
                "1:1: expected a list of deployments, each with service, version, variant, started_at; found a mapping"
            ],
        ),
        ("- trips\n", ["1:3: expected a deployment, found 'trips'"]),
        (
            "- {service: trips, version: [v1], variant: blue, startedat: 2026-01-01}\n- {service: a, version: null}\n",
            [
                "1:3: missing key 'started_at'",
                "1:29: expected text, found a list",
                "1:50: unknown key 'startedat'; did you mean 'started_at'?",
                "2:3: missing key 'started_at'",
                "2:3: missing key 'variant'",
                "2:25: no version",
            ],
        ),
        (
            "- {service: trips, version: v1, variant: blue, started_at: yesterday}\n",
            [
                (
                    "1:60: 'yesterday' is not a time; write 2018-06-17T00:00:00Z, 2018-06-17 00:00:00, 6/17/2018 0:00, "
                    "or Unix seconds or milliseconds"
                )
            ],
        ),
        ("- {service: trips, version: 1, variant: blue, started_at: [\n", None),
    ],
    ids=["no list", "no mapping", "mistakes in entries", "no time", "no YAML"],
)
def test_mistakes_in_yaml_are_told_at_once_at_their_places(
    written: Written, text: str, expected: list[str] | None
) -> None:
    found = problems(written("d.yaml", text))
    assert found == expected if expected is not None else found


@pytest.mark.parametrize("row", ["x" * 200_000 + ",v1,blue,2026-01-01", "trips\rv1"])
def test_what_no_reader_of_csv_takes_is_told_at_its_line(written: Written, row: str) -> None:
    (problem,) = problems(written("d.csv", CSV + row + "\n"))
    assert problem.startswith("5:1: is not CSV: ")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for name in ("d.csv", "d.yaml"):
        assert problems(tmp_path / name) == ["1:1: cannot be read: No such file or directory"]


def test_dates_that_could_be_read_either_way_are_refused(written: Written) -> None:
    text = "service,version,variant,started_at\ntrips,v1,blue,1/2/2026\ntrips,v2,blue,3/7/2026\n"
    assert problems(written("d.csv", text)) == [
        "1:1: day and month cannot be told apart; write dates as 2018-06-17"
    ]


def test_versions_that_were_there_already_are_no_deployments() -> None:
    adopted = Serving(service="trips", version="v0", variant="blue", started_at=T0 - HOUR, armed=False)
    found = Deployments(known=(adopted, *KNOWN))
    assert found.of("trips")[0] == adopted
    assert found.moments("trips") == (T0.timestamp(), (T0 + HOUR).timestamp())


def stored(version: str, at: datetime, state: DeploymentState, **changed: Any) -> Deployment:
    return Deployment(
        id=f"d-{version}",
        service="trips",
        version=version,
        variant="blue",
        state=state,
        origin=Origin.POSTED,
        started_at=at,
        recorded_at=at,
        **changed,
    )


async def keep(url: str, deployments: Sequence[Deployment]) -> None:
    store = make_store(url)
    await store.open()
    await store.claim(now=T0)
    await store.commit(Turn(deployments=tuple(deployments)))
    await store.aclose()


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return configured(tmp_path, "http://127.0.0.1:1")


def test_deployments_are_read_from_the_store_of_a_configuration(configuration: Configuration) -> None:
    every = [
        stored("v0", T0 - 9 * HOUR, DeploymentState.STABLE, ended_at=T0 - 5 * HOUR),
        stored("v1", T0 - 5 * HOUR, DeploymentState.STABLE, ended_at=T0),
        stored("v2", T0, DeploymentState.WATCHING, armed=True),
        stored("v3", T0 + HOUR, DeploymentState.PENDING),
        stored("v4", T0 + HOUR, DeploymentState.FAILED),
    ]
    many = [
        stored(f"w{n}", T0 + 2 * HOUR, DeploymentState.STABLE, ended_at=T0 + 3 * HOUR) for n in range(600)
    ]
    asyncio.run(keep(configuration.store_url, [*every, *many]))
    before = Path(configuration.store_url.removeprefix("sqlite:///")).read_bytes()
    found = stored_deployments(configuration, since=T0 - 4 * HOUR)
    assert found.notes == ()
    assert len(found.known) == 602
    assert found.known[:2] == (
        Serving(
            service="trips",
            version="v1",
            variant="blue",
            started_at=T0 - 5 * HOUR,
            ended_at=T0,
            id="d-v1",
            armed=False,
        ),
        Serving(service="trips", version="v2", variant="blue", started_at=T0, id="d-v2"),
    )
    assert Path(configuration.store_url.removeprefix("sqlite:///")).read_bytes() == before, "only looked at"


def test_a_store_that_is_not_there_is_said_and_not_made(configuration: Configuration) -> None:
    path = Path(configuration.store_url.removeprefix("sqlite:///"))
    assert stored_deployments(configuration) == Deployments(
        notes=("deployments are not known: there is no store at watchdog.db",)
    )
    assert not path.exists()


def test_a_store_that_cannot_be_read_is_said(configuration: Configuration) -> None:
    path = Path(configuration.store_url.removeprefix("sqlite:///"))
    path.write_bytes(b"no database at all, and longer than its header would be " * 10)
    (note,) = stored_deployments(configuration).notes
    assert note == f"deployments are not known: store {path}: the file is not a database"
