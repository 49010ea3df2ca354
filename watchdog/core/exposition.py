r"""Exposition pages: the text that `/metrics` answers, Prometheus's format 0.0.4 and OpenMetrics.

Read here and not by prometheus_client's parser, which renames counters (`errors` becomes `errors_total`, so that a
selector finds nothing), takes an OpenMetrics exemplar for a time stamp, and needs 70 µs a sample; here a line costs
about 1 µs unless its metric is asked about. This module must never guess at a line it cannot read: a cut number
looks like a counter that was reset.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator

import msgspec

#: Longest value of a label, in characters; longer ones make the page unusable (see `watchdog.core.selector`).
MAX_LABEL_VALUE = 1024
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SAMPLE = re.compile(
    r"""
    (\{(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\})?  # labels
    [ \t]*+
    ([^\s\#{}]+)                           # value
    (?:[ \t]+(-?[0-9][0-9.eE+-]*))?        # time stamp
    [ \t\r]*+
    (?:\#.*)?                              # exemplar
    """,
    re.VERBOSE,
)
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*+)"\s*(,|$)')
_ESCAPE = re.compile(r'\\([\\"n])')
#: A name in quotes (Prometheus 3): no selector here can ask for it, but it belongs on a page. JSON does not.
_QUOTED_NAME = re.compile(r'\{[ \t]*"(?:[^"\\]|\\.)++"[ \t]*[,}].*')
_PLAIN = {"\\": "\\", '"': '"', "n": "\n"}


class Line(msgspec.Struct, frozen=True):
    """One sample. `labels` is the text between the braces, as it stands there; `at` Unix seconds, where given."""

    name: str
    labels: str
    value: float
    at: float | None = None


def samples(page: str, wanted: Container[str], *, openmetrics: bool = False) -> Iterator[Line]:
    """The samples of the wanted metrics, in order. Raises `ValueError` with the line's number for what cannot be read.

    Lines of other metrics are looked at only as far as their names. Time stamps are milliseconds in Prometheus's
    format and seconds in OpenMetrics, where a page also says that it is complete.
    """
    if openmetrics and not page.rstrip("\n").endswith("# EOF"):
        raise ValueError("the page was cut short: it does not end with # EOF")
    per_second = 1 if openmetrics else 1000
    for number, line in enumerate(page.split("\n"), 1):
        if not line or line[0] == "#":
            continue
        found = _NAME.match(line)
        if found is None:
            _expect_nothing(number, line)
            continue
        end = found.end()
        if line[end : end + 1] not in ("{", " ", "\t"):
            raise ValueError(f"line {number} is no sample: {line[:40]!r}")
        if found.group() in wanted:
            yield _sample(number, found.group(), line[end:].lstrip(" \t"), per_second)


def names_on(page: str) -> Iterator[str]:
    """The names of the metrics on a page, one for each sample; lines that cannot be read have none."""
    for line in page.split("\n"):
        if line and line[0] != "#" and (found := _NAME.match(line)) is not None:
            yield found.group()


def _expect_nothing(number: int, line: str) -> None:
    """A line that begins with no name: blank, an indented remark, or a name in quotes."""
    stripped = line.strip()
    if stripped and stripped[0] != "#" and not _QUOTED_NAME.fullmatch(stripped):
        raise ValueError(f"line {number} is no sample: {line[:40]!r}")


def _sample(number: int, name: str, rest: str, per_second: int) -> Line:
    found = _SAMPLE.fullmatch(rest)
    if found is None:
        raise ValueError(f"line {number} is no sample: {name} {rest[:40]!r}")
    labels, value, stamp = found.groups()
    try:
        at = None if stamp is None else float(stamp) / per_second
        if "_" in value or (at is not None and not math.isfinite(at)):
            raise ValueError(value)
        return Line(name, labels[1:-1] if labels else "", float(value), at)
    except ValueError:
        raise ValueError(f"line {number}: {name} has no readable value: {rest[-40:]!r}") from None


def read_labels(text: str) -> dict[str, str]:
    """The labels in the text between braces; empty values are left out, they mean "no such label".

    Raises `ValueError` for text that cannot be read, a label given twice, and a value that is too long.
    """
    labels: dict[str, str] = {}
    seen: set[str] = set()
    at = 0
    while text[at:].strip():
        found = _LABEL.match(text, at)
        if found is None:
            raise ValueError(f"cannot read the labels {text[:60]!r}")
        name, quoted, _ = found.groups()
        if name in seen:
            raise ValueError(f"the label {name} is given twice in {text[:60]!r}")
        value = _ESCAPE.sub(lambda match: _PLAIN[match.group(1)], quoted)
        if len(value) > MAX_LABEL_VALUE:
            raise ValueError(f"the label {name} has {len(value)} characters (at most {MAX_LABEL_VALUE})")
        seen.add(name)
        if value:
            labels[name] = value
        at = found.end()
    return labels
