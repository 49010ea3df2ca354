"""Field types of the configuration: names, counts, shares and thresholds as people write them.

This module must never know where a field stands.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

from watchdog.core.rule import Hold, Unit
from watchdog.core.units import parse_hold, parse_number, parse_percentage, parse_rate, parse_samples

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a name: letters, digits, '_', '-' and '.', at most 100, none of '-.' first"
        )
    return value


def _label(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of a label: letters, digits and '_', no digit first")
    return value


def _matched_by(value: str) -> str:
    if value == "name" or (value.startswith("label.") and _LABEL.fullmatch(value.removeprefix("label."))):
        return value
    if value.removeprefix("$") == "service":
        better = "name"
    else:
        bare = value.removeprefix("$").removeprefix("label.")
        better = f"label.{bare}" if _LABEL.fullmatch(bare) else "name"
    raise ValueError(
        f"{value!r} is neither `name` (of the service) nor `label.NAME` (a label of it); did you mean {better}?"
    )


def _text(value: Any, example: str) -> str:
    if not isinstance(value, str):
        shown = str(value).lower() if isinstance(value, bool) else value
        found = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else shown
        raise ValueError(f"expected {example}, found {found}")
    return value


def _percentage(value: Any) -> float:
    return parse_percentage(_text(value, "a percentage such as 20%"))


def _share(value: Any) -> float:
    return _percentage_within(value, 0, 1, "must be between 0% and 100%")


def _confidence(value: Any) -> float:
    return _percentage_within(value, 0.5, 0.999999, "must be between 50% and 99.9999%")


def _excess(value: Any) -> float:
    return _percentage_within(
        value, 0, 14.99, "must be between 0% and 1499%: more than 15 windows cannot hold"
    )


def _percentage_within(value: Any, least: float, most: float, words: str) -> float:
    share = _percentage(value)
    if not least <= share <= most:
        raise ValueError(f"{value!r} {words}")
    return share


def _quantile(value: Any) -> float:
    text = _written(value)
    try:
        quantile = parse_number(text, Unit.RATIO)
    except ValueError:
        raise ValueError(f"{value!r} is not a quantile such as 0.95 or 95%") from None
    if 1 < quantile < 100:
        better = f"{quantile / 100:.12g} or {quantile:.12g}%"
        raise ValueError(f"{value!r} must lie between 0 and 1; write {better}")
    if not 0 < quantile < 1:
        raise ValueError(f"{value!r} must lie between 0 and 1, neither of them included, such as 0.95")
    return quantile


def _effect(value: Any) -> float:
    try:
        share = parse_number(_written(value), Unit.RATIO)
    except ValueError:
        raise ValueError(f"{value!r} is not a share of pairs such as 0.71 or 71%") from None
    if not 0.5 <= share <= 1:
        raise ValueError(
            f"{value!r} must be between 0.5 and 1: equal versions are the worse one in half of the pairs"
        )
    return share


def _samples(value: Any) -> int:
    return parse_samples(_text(value, "a count such as 3 samples"))


def _hold(value: Any) -> Hold:
    return parse_hold(_text(value, "a duration such as 1m or a count such as 2 samples"))


def _rate(value: Any) -> Any:
    count, per = parse_rate(_text(value, "a rate such as 3 per 10m"))
    if not count or not per:
        raise ValueError(f"{value!r}: both numbers must be above 0")
    return count, per


def _written(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return _text(value, "a number")
    return str(value)


def _version(value: Any) -> int:
    if isinstance(value, bool) or value != 1:
        raise ValueError("version must be 1")
    return 1


# What people write, for the JSON Schemas: never narrower than what is read.
_Percentage = Annotated[str, Field(pattern=r"^[^%]*%\s*$")]
_Samples = Annotated[str, Field(pattern=r"^\s*[0-9]+\s+samples?\s*$")]
_Per = Annotated[str, Field(pattern=r"^.*\sper\s.*$")]

#: A name that can stand in a URL's path, a metric's label and a file's name.
Name = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"})
]
#: The name of a label, as in `$label.NAME`.
LabelName = Annotated[str, AfterValidator(_label)]
#: What a label of a series must equal: `name`, the service's, or `label.NAME`, one of its labels.
MatchedBy = Annotated[str, AfterValidator(_matched_by)]
#: A whole number from 0 on.
Count = Annotated[int, Strict(), Field(ge=0, le=1_000_000_000)]
#: `20%` as 0.2, not below 0 % and not above 100 %.
Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=_Percentage)]
#: `99%` as 0.99. Below 50 % a bound proves nothing, at 100 % nothing passes.
Confidence = Annotated[float, BeforeValidator(_confidence, json_schema_input_type=_Percentage)]
#: `20%` of one window as 0.2. The excess is integrated over 15 windows, so 1500 % can never be exceeded.
Excess = Annotated[float, BeforeValidator(_excess, json_schema_input_type=_Percentage)]
#: A quantile between 0 and 1, such as `0.95` or `95%`.
QuantileNumber = Annotated[float, BeforeValidator(_quantile, json_schema_input_type=str | float)]
#: The share of the pairs of two values in which the first is the worse one: `0.71` or `71%`.
Effect = Annotated[float, BeforeValidator(_effect, json_schema_input_type=str | float)]
#: How many values of a version are tested: too few are never certain, more than some windows are no news.
TestedCount = Annotated[int, Strict(), Field(ge=4, le=100)]
#: `3 samples` as 3.
SampleCount = Annotated[int, BeforeValidator(_samples, json_schema_input_type=_Samples)]
#: `2 samples` or `1m`: a `watchdog.core.rule.Hold`.
HoldField = Annotated[Any, BeforeValidator(_hold, json_schema_input_type=str)]
#: `3 per 10m` as `(3, timedelta)`.
Rate = Annotated[Any, BeforeValidator(_rate, json_schema_input_type=_Per)]
#: A number with or without a unit, as it was written; what it means depends on the rule.
Written = Annotated[str, BeforeValidator(_written, json_schema_input_type=str | float)]
#: The version of the file's format.
FormatVersion = Annotated[int, BeforeValidator(_version, json_schema_input_type=Literal[1])]
