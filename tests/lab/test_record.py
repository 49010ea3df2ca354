"""The file of back-test records: written whole, merged, sorted, and the same shape that the configuration reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.config.backtests import BackTest, RecordFile, decode
from watchdog.core.errors import ConfigError
from watchdog.lab.record import read_records, record

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)


def made(service: str = "trips", rule: str = "error-rate", **changes: object) -> BackTest:
    whole = BackTest(
        service=service,
        rule=rule,
        judgement="0123456789abcdef",
        since=BEGIN,
        until=BEGIN + timedelta(days=30),
        made_at=BEGIN + timedelta(days=31),
        step_seconds=30.0,
        samples=86_400,
        known=0.998,
        incidents=3,
        incidents_per_week=0.7,
        rollbacks=0,
        near_deployments=0,
        blind_seconds=90.0,
    )
    return msgspec.structs.replace(whole, **changes)


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "backtests.json"
    record(path, [made()])
    assert read_records(path) == (made(),)
    assert decode(path.read_bytes()).backtests == (made(),)


def test_the_newest_of_a_service_and_rule_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "backtests.json"
    record(path, [made(), made(service="shop")])
    record(path, [made(rollbacks=2)])
    assert read_records(path) == (made(service="shop"), made(rollbacks=2))


def test_what_did_not_change_keeps_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "backtests.json"
    record(path, [made(), made(service="shop"), made(service="zoo")])
    before = path.read_text().splitlines()
    record(path, [made(rollbacks=2)])
    after = path.read_text().splitlines()
    assert len(before) == len(after)
    assert [line.strip() for old, line in zip(before, after, strict=True) if old != line] == [
        '"rollbacks": 2,'
    ]


def test_times_are_in_words_that_people_read(tmp_path: Path) -> None:
    path = tmp_path / "backtests.json"
    record(path, [made(near_deployments=None)])
    (one,) = json.loads(path.read_text())["backtests"]
    assert (one["from"], one["to"]) == ("2026-10-01T00:00:00Z", "2026-10-31T00:00:00Z")
    assert path.read_text().endswith("}\n")


def test_another_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match=r"notes\.json holds no back-test records.*`mine`"):
        record(path, [made()])
    assert path.read_text() == '{"mine": 1}'


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        record(tmp_path / "none" / "backtests.json", [made()])


def test_a_link_stays_one_and_a_mode_stays_too(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "backtests.json"
    real.write_text('{"version": 1, "backtests": []}')
    real.chmod(0o640)
    link.symlink_to(real)
    record(link, [made()])
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert read_records(link) == (made(),)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backtests.json", "real.json"]


_NAMES = st.sampled_from(["a", "b", "ä", "c-1"])


@settings(deadline=None, max_examples=20)  # a disk takes its time
@given(st.lists(st.builds(made, service=_NAMES, rule=_NAMES, rollbacks=st.integers(0, 9)), max_size=8))
def test_any_order_of_writing_gives_one_of_each_sorted(
    tmp_path_factory: pytest.TempPathFactory, ones: list[BackTest]
) -> None:
    path = tmp_path_factory.mktemp("record") / "backtests.json"
    for one in ones:
        record(path, [one])
    newest = {(one.service, one.rule): one for one in ones}
    assert read_records(path) == tuple(newest[key] for key in sorted(newest))


def test_a_file_of_a_later_format_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.version"):
        decode(b'{"version": 2, "backtests": []}')
    assert RecordFile() == decode(b"{}")
