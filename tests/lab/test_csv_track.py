from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from watchdog.lab.csv_track import MAX_PROBLEMS, InvalidSeries, NoSeries, Series, read_folder, read_series

BEGIN = datetime(2018, 6, 17, tzinfo=UTC).timestamp()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "series.csv"


def read(file: Path, text: str, *, encoding: str = "utf-8") -> Series:
    file.write_bytes(text.encode(encoding))
    return read_series(file)


def refused(file: Path, text: str) -> list[str]:
    """The problems of a file, without its name."""
    with pytest.raises(InvalidSeries) as caught:
        read(file, text)
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


def hourly(times: list[str], *, header: str = "TimeStamp,Value,Label") -> str:
    return "\n".join([header, *(f"{time},{number},0" for number, time in enumerate(times))]) + "\n"


def test_a_series_is_read_with_its_labels(file: Path) -> None:
    text = "TimeStamp,Value,Label\n2018-06-17 00:00:00,7,0\n2018-06-17 01:00:00,6.5,1\n2018-06-17 02:00:00,1e3,0\n"
    series = read(file, text)
    assert series.track.times.tolist() == [BEGIN, BEGIN + 3600, BEGIN + 7200]
    assert series.track.values.tolist() == [7, 6.5, 1000]
    assert series.track.labels is not None
    assert series.track.labels.tolist() == [0, 1, 0]
    assert series.track.step == 3600
    assert series.track.name == str(file)
    assert series.track.events is None
    assert series.notes == ()


def test_labels_events_and_bad_are_read_where_they_are_and_nothing_is_made_up_where_not(file: Path) -> None:
    track = read(file, "time,value\n0,1\n30,2\n").track
    assert (track.labels, track.events, track.bad) == (None, None, None)
    track = read(file, "Bad,EVENTS,Time Stamp,VALUE\n1,100,0,0.01\n,,30,\n").track
    assert track.events is not None
    assert track.bad is not None
    assert track.events.tolist()[0] == 100
    assert math.isnan(track.events[1])
    assert math.isnan(track.bad[1])


@pytest.mark.parametrize(
    "times",
    [
        ["2018-06-17T00:00:00Z", "2018-06-17T01:00:00Z", "2018-06-17T02:00:00Z"],
        ['"2018-06-17T00:00:00Z"', '"2018-06-17T01:00:00Z"', '"2018-06-17T02:00:00Z"'],
        ["2018-06-17 00:00:00", "2018-06-17 01:00:00", "2018-06-17 02:00:00"],
        ["2018-06-17 00:00", "2018-06-17 01:00", "2018-06-17 02:00"],
        ["2018-06-17", "2018-06-17 01:00:00", "2018-06-17 02:00:00"],
        ["2018-06-17T02:00:00+02:00", "2018-06-17T03:00:00+02:00", "2018-06-17T03:00:00+01:00"],
        ["2018-06-17T02:00:00+0200", "2018-06-17T03:00:00+0200", "2018-06-17T03:00:00+0100"],
        ["2018-06-17T00:00:00.0000000Z", "2018-06-17T01:00:00.000Z", "2018-06-17T02:00:00Z"],
        ["2018-06-17 00:00:00 UTC", "2018-06-17 01:00:00 UTC", "2018-06-17 02:00:00 UTC"],
        ["2018/06/17 00:00:00", "2018/06/17 01:00:00", "2018/06/17 02:00:00"],
        ["2018-6-17 0:00:00", "2018-6-17 1:00:00", "2018-6-17 2:00:00"],
        ["20180617T000000Z", "20180617T010000Z", "20180617T020000Z"],
        ["6/17/2018 0:00", "6/17/2018 1:00", "6/17/2018 2:00"],
        ["6/17/2018 12:00:00 AM", "6/17/2018 1:00:00 AM", "6/17/2018 2:00:00 AM"],
        ["06/17/2018 00:00:00Z", "06/17/2018 01:00:00Z", "06/17/2018 02:00:00Z"],
        ["06/17/2018 02:00 +02:00", "06/17/2018 03:00 +02:00", "06/17/2018 04:00 +02:00"],
        ["17/06/2018 00:00", "17/06/2018 01:00", "17/06/2018 02:00"],
        ["17.6.2018 0:00", "17.6.2018 1:00", "17.6.2018 2:00"],
        ["17-06-2018 00:00:00", "17-06-2018 01:00:00", "17-06-2018 02:00:00"],
        ["1529193600", "1529197200", "1529200800"],
        ["1529193600.0", "1529197200.0", "1529200800.0"],
        ["1529193600000", "1529197200000", "1529200800000"],
        ["1529193600000000", "1529197200000000", "1529200800000000"],
        ["1529193600000000000", "1529197200000000000", "1529200800000000000"],
    ],
    ids=lambda times: times[0],
)
def test_times_are_read_in_the_formats_that_people_and_exporters_write(file: Path, times: list[str]) -> None:
    series = read(file, hourly(times))
    assert series.track.times.tolist() == [BEGIN, BEGIN + 3600, BEGIN + 7200]
    assert series.notes == ()


def test_fractions_of_seconds_are_kept(file: Path) -> None:
    assert read(file, hourly(["2018-06-17T00:00:00.25Z", "2018-06-17T00:00:01.5Z"])).track.times.tolist() == [
        BEGIN + 0.25,
        BEGIN + 1.5,
    ]
    assert read(file, hourly(["6/17/2018 0:00:00.25", "6/17/2018 0:00:01.5"])).track.times.tolist() == [
        BEGIN + 0.25,
        BEGIN + 1.5,
    ]


def test_the_same_date_or_time_of_day_met_again_is_read_the_same(file: Path) -> None:
    times = ["6/17/2018T1:00", "6/18/2018T2:00", "6/17/2018T1:00", "6/19/2018", "6/19/2018 1:00"]
    text = "TimeStamp,Value\n" + "".join(f"{time},1\n" for time in times)
    hours = [(at - BEGIN) / 3600 for at in read(file, text).track.times]
    assert hours == [1, 26, 48, 49]


def test_noon_and_midnight_are_told_apart(file: Path) -> None:
    times = ["6/17/2018 11:59 AM", "6/17/2018 12:00 PM", "6/17/2018 11:59 PM", "6/18/2018 12:00 AM"]
    hours = [(at - BEGIN) / 60 for at in read(file, hourly(times)).track.times]
    assert hours == [719, 720, 1439, 1440]


def day_by_day(day_first: bool, *, days: int, hours: int) -> list[str]:
    begin = datetime(2018, 6, 1, tzinfo=UTC)
    moments = [begin + timedelta(days=day, hours=hour) for day in range(days) for hour in range(hours)]
    dates = [(it.day, it.month) if day_first else (it.month, it.day) for it in moments]
    return [f"{a:02}/{b:02}/2018 {it.hour:02}:00" for (a, b), it in zip(dates, moments, strict=True)]


@pytest.mark.parametrize("day_first", [True, False])
def test_a_day_beyond_the_twelfth_decides_for_the_whole_file(file: Path, day_first: bool) -> None:
    series = read(file, hourly(day_by_day(day_first, days=14, hours=24)))
    begin = datetime(2018, 6, 1, tzinfo=UTC).timestamp()
    assert series.track.times.tolist() == [begin + 3600 * hour for hour in range(14 * 24)]
    assert series.notes == ()


@pytest.mark.parametrize("day_first", [True, False])
def test_where_every_day_could_be_a_month_even_spacing_decides_and_is_said(
    file: Path, day_first: bool
) -> None:
    series = read(file, hourly(day_by_day(day_first, days=5, hours=24)))
    assert np.all(np.diff(series.track.times) == 3600)
    order = "day" if day_first else "month"
    assert series.notes == (
        f"its dates are read with the {order} first: only so are its samples evenly spaced",
    )


def test_one_day_that_could_be_a_month_changes_no_distance_and_is_said(file: Path) -> None:
    series = read(file, hourly(day_by_day(day_first=False, days=1, hours=24)))
    assert series.track.times[0] == datetime(2018, 6, 1, tzinfo=UTC).timestamp()
    assert series.notes == (
        "its dates could have the day first as well; read with the month first: distances stay the same",
    )


def test_dates_that_stay_undecided_are_refused(file: Path) -> None:
    assert refused(file, hourly(["1/2/2018", "3/7/2018"])) == [
        "2:1: day and month cannot be told apart; write dates as 2018-06-17"
    ]


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        (["1/13/2018", "13/1/2018"], "'13/1/2018' has the day first, '1/13/2018' the month"),
        (
            ["2018-06-17 00:00", "17.6.2018 01:00"],
            "'17.6.2018 01:00' is not a time such as 2018-06-17 00:00:00",
        ),
        (
            ["2018-06-17T00:00Z", "2018-06-17T01:00"],
            "'2018-06-17T01:00' has no zone, the first time has one",
        ),
        (
            ["6/17/2018 0:00", "6/17/2018 0:00Z"],
            "'6/17/2018 0:00Z' has a zone, the first time of this file has none",
        ),
        (["1529193600", "2018-06-17"], "'2018-06-17' is not a Unix time, as the others in this file are"),
        (
            ["1529193600", "1529197200000"],
            "'1529197200000' cannot be seconds, as the first time of this file is",
        ),
        (["2018-06-17", "2018-02-30"], "'2018-02-30': there is no such day"),
        (["6/17/2018", "6/31/2018"], "'6/31/2018': there is no such day"),
        (["6/17/2018", "6-18-2018"], "'6-18-2018': the first time of this file has '/' in its date"),
        (["6/17/2018 1:00", "6/17/2018 25:00"], "'6/17/2018 25:00': '25:00' is not a time of day"),
        (
            ["6/17/2018 1:00 AM", "6/17/2018 13:00 AM"],
            "'6/17/2018 13:00 AM': '13:00 AM' is not a time of day",
        ),
        (["2018-06-17", ""], "no time"),
        (["2018-06-17 00:00", "2018-06-17 noon"], "'2018-06-17 noon': 'noon' is not a time of day"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_time_of_another_format_is_refused_at_its_place(file: Path, times: list[str], problem: str) -> None:
    assert refused(file, hourly(times)) == [f"3:1: {problem}"]


def test_what_is_no_time_at_all_says_which_are(file: Path) -> None:
    (problem,) = refused(file, "Value,TimeStamp\n1,soon\n")
    assert problem.startswith("2:3: 'soon' is not a time; write 2018-06-17T00:00:00Z, ")


@pytest.mark.parametrize(
    "nothing", ["", "NaN", "nan", "null", "None", "N/A", "inf", "-Infinity", "1e999", " "]
)
def test_a_value_that_is_missing_or_not_finite_is_no_data(file: Path, nothing: str) -> None:
    track = read(file, f"TimeStamp,Value\n0,1\n60,{nothing}\n120,3\n").track
    assert track.values[[0, 2]].tolist() == [1, 3]
    assert math.isnan(track.values[1])
    assert track.failed is None


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("60,high,0", "3:4: 'high' is not a number"),
        ('"60","1_000",0', "3:6: '1_000' is not a number"),
        ("60,5,2", "3:6: '2' is not a label: 1 is anomalous, 0 or nothing is not"),
        ("60,5", "3:1: 2 fields, the first line has 3"),
        ("60,5,0,9", "3:1: 4 fields, the first line has 3"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_at_its_place(file: Path, row: str, problem: str) -> None:
    assert refused(file, f"TimeStamp,Value,Label\n0,1,0\n{row}\n120,3,0\n") == [problem]


def test_all_that_is_wrong_is_told_at_once_but_not_without_end(file: Path) -> None:
    assert refused(file, "TimeStamp,Value\n0,a\n60,b\n120,c\n") == [
        "2:3: 'a' is not a number",
        "3:4: 'b' is not a number",
        "4:5: 'c' is not a number",
    ]
    problems = refused(file, "TimeStamp,Value\n" + "".join(f"{at},x\n" for at in range(1000)))
    assert len(problems) == MAX_PROBLEMS
    assert problems[-1] == "21:4: 'x' is not a number (and more: only the first 20 are told)"


@pytest.mark.parametrize("label", ["0", "1", "0.0", "1.0", "", "true", "False"])
def test_labels_come_in_several_spellings(file: Path, label: str) -> None:
    labels = read(file, f"TimeStamp,Value,is_anomaly\n0,1,{label}\n").track.labels
    assert labels is not None
    assert labels.tolist() == [int(label in {"1", "1.0", "true"})]


def test_samples_out_of_order_are_sorted_and_it_is_said(file: Path) -> None:
    series = read(file, "TimeStamp,Value,Label\n0,0,0\n120,2,1\n60,1,0\n180,3,0\n")
    assert series.track.times.tolist() == [0, 60, 120, 180]
    assert series.track.values.tolist() == [0, 1, 2, 3]
    assert series.track.labels is not None
    assert series.track.labels.tolist() == [0, 0, 1, 0]
    assert series.notes == ("1 sample is earlier than one above (first in line 4); sorted by time",)


def test_samples_that_are_twice_alike_count_once_and_it_is_said(file: Path) -> None:
    series = read(file, "TimeStamp,Value,Label\n0,0,0\n60,1,0\n60,1,1\n60,1,0\n120,,0\n120,,0\n")
    assert series.track.times.tolist() == [0, 60, 120]
    assert series.track.labels is not None
    assert series.track.labels.tolist() == [0, 1, 0], "marked once is marked"
    assert series.notes == ("3 samples are twice with the same value; counted once",)


def test_of_a_sample_with_two_values_the_last_counts_and_it_is_said(file: Path) -> None:
    series = read(file, "TimeStamp,Value\n0,0\n60,1\n60,7\n120,2\n")
    assert series.track.values.tolist() == [0, 7, 2]
    assert series.notes == (
        "1 sample is of a time that was there with another value (first in line 4); the last value counts",
    )


def test_a_value_counts_more_than_none_of_the_same_time(file: Path) -> None:
    assert read(file, "TimeStamp,Value\n0,0\n60,1\n60,\n120,2\n").track.values.tolist() == [0, 1, 2]


def test_many_samples_with_two_values_are_two_series_in_one_file(file: Path) -> None:
    rows = "".join(f"{60 * at},{at}\n{60 * at},{at + 0.5}\n" for at in range(10))
    assert refused(file, f"TimeStamp,Value\n{rows}") == [
        (
            "3:1: 10 samples are of a time that was there with another value (first in line 3): "
            "are there several series in this file?"
        )
    ]


def test_gaps_stay_gaps_and_the_step_is_the_usual_distance(file: Path) -> None:
    track = read(file, "TimeStamp,Value\n0,0\n60,1\n120,2\n7200,3\n7260,4\n").track
    assert track.times.tolist() == [0, 60, 120, 7200, 7260]
    assert track.step == 60


def test_one_sample_has_no_step(file: Path) -> None:
    assert read(file, "TimeStamp,Value\n0,1\n").track.step == 0


@pytest.mark.parametrize("text", ["TimeStamp,Value\r\n0,1\r\n60,2\r\n", "TimeStamp;Value\n0;1\n60;2\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_byte_order_marks_line_ends_and_other_separators_make_no_difference(
    file: Path, text: str, encoding: str
) -> None:
    assert read(file, text, encoding=encoding).track.values.tolist() == [1, 2]


def test_blank_lines_and_trailing_separators_are_no_rows(file: Path) -> None:
    track = read(file, "\n\nTimeStamp,Value\n\n0,1,\n,\n60,2\n\n").track
    assert track.values.tolist() == [1, 2]
    assert refused(file, "\n\nTimeStamp,Value\n\n0,1,\n,\n60,x\n\n") == ["7:4: 'x' is not a number"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: is empty"),
        ("\n\n", "1:1: is empty"),
        ("TimeStamp,Value,Label\n", "1:1: has a header, but no sample"),
        (
            "id,name\n1,2\n",
            (
                "1:1: no column TimeStamp and no column Value; the first line must name TimeStamp and Value, "
                "found 'id', 'name'"
            ),
        ),
        (
            "0,1\n60,2\n",
            (
                "1:1: no column TimeStamp and no column Value; the first line must name TimeStamp and Value, "
                "found '0', '1'"
            ),
        ),
    ],
    ids=["empty", "blank", "header only", "other columns", "no header"],
)
def test_a_file_that_is_no_series_says_so(file: Path, text: str, problem: str) -> None:
    with pytest.raises(NoSeries):
        read(file, text)
    assert refused(file, text) == [problem]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("TimeStamp,Valeu", "1:11: unknown column 'Valeu'; did you mean 'Value'?"),
        ("TimeStamp,Value,Lable", "1:17: unknown column 'Lable'; did you mean 'Label'?"),
        ("TimeStamp,Value,time", "1:17: column 'time': there are two columns for TimeStamp"),
        (
            "TimeStamp,Latency",
            "1:1: no column Value; the first line must name TimeStamp and Value, found 'TimeStamp', 'Latency'",
        ),
    ],
)
def test_wrong_columns_are_told_with_the_nearest_name(file: Path, header: str, problem: str) -> None:
    assert refused(file, f"{header}\n0,1,0\n") == [problem]


def test_columns_that_mean_nothing_are_ignored_and_it_is_said(file: Path) -> None:
    series = read(file, ",timestamp,value,KPI ID\n0,0,1,x\n1,60,2,x\n")
    assert series.track.values.tolist() == [1, 2]
    assert series.notes == ("columns that mean nothing here are ignored: '', 'KPI ID'",)


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"TimeStamp,Value\n\xff\xfe0,1\n")
    with pytest.raises(InvalidSeries, match=r"series.csv:1:1: is not UTF-8 text"):
        read_series(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSeries, match=r"none.csv:1:1: No such file or directory"):
        read_series(tmp_path / "none.csv")


def test_a_huge_series_is_read(file: Path) -> None:
    rows = "".join(f"{1_500_000_000 + 30 * at},{at % 97},0\n" for at in range(200_000))
    track = read(file, f"TimeStamp,Value,Label\n{rows}").track
    assert len(track) == 200_000
    assert track.times[-1] == 1_500_000_000 + 30 * 199_999
    assert track.values[96] == 96


def test_a_folder_gives_every_series_below_it_by_path(tmp_path: Path) -> None:
    for name in ("b/2.csv", "b/1.CSV", "a.csv", ".hidden.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("TimeStamp,Value\n0,1\n")
    (tmp_path / "a.csv-metadata.json").write_text("{}")
    (tmp_path / "b" / "empty.csv").write_text("")
    (tmp_path / "b" / "other.csv").write_text("id,name\n1,2\n")
    folder = read_folder(tmp_path)
    assert [series.track.name for series in folder.series] == ["a.csv", "b/1.CSV", "b/2.csv"]
    assert [reason.removeprefix(f"{tmp_path}/b/").split(";")[0] for reason in folder.skipped] == [
        "empty.csv:1:1: is empty",
        "other.csv:1:1: no column TimeStamp and no column Value",
    ]


def test_a_file_is_a_folder_of_one(file: Path) -> None:
    file.write_text("TimeStamp,Value\n0,1\n")
    assert [series.track.name for series in read_folder(file).series] == ["series.csv"]


def test_every_mistake_below_a_folder_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("TimeStamp,Value\n0,x\n")
    (tmp_path / "2.csv").write_text("TimeStamp,Value\n0,1\n")
    (tmp_path / "3.csv").write_text("TimeStamp,Value\n,1\n")
    with pytest.raises(InvalidSeries) as caught:
        read_folder(tmp_path)
    assert [str(it).removeprefix(f"{tmp_path}/") for it in caught.value.problems] == [
        "1.csv:2:3: 'x' is not a number",
        "3.csv:2:1: no time",
    ]


def test_a_folder_without_a_series_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoSeries, match=r"there is no series \(\*.csv\) below this folder"):
        read_folder(tmp_path)
