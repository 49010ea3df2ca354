"""What docs/how-to/test-rules.md shows of the code: the keys of files with tests of rules, and what can be expected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from watchdog.lab import testfile_shapes as shapes
from watchdog.lab.recording import FIELDS, What
from watchdog.lab.testfile_expect import MAIN

#: Tables of keys by their names.
SHAPES: dict[str, type[BaseModel]] = {
    "tests file": shapes.RuleTestsShape,
    "test": shapes.RuleTestShape,
    "tested service": shapes.ServiceUnderTestShape,
    "tested variant": shapes.VariantShape,
    "series": shapes.SeriesShape,
    "event": shapes.EventShape,
    "event deploy": shapes.DeployShape,
    "event of a person": shapes.WishShape,
    "event acknowledge": shapes.AcknowledgeShape,
    "event rollback": shapes.RollbackWishShape,
    "event taint": shapes.VersionWishShape,
    "event silence": shapes.SilenceWishShape,
    "expectation": shapes.ExpectShape,
}
_PEOPLE = ("acknowledge", "unacknowledge", "approve", "reject", "close", "rollback", "pause", "resume")
_VOUCHED = ("taint", "untaint", "mark_good")
KINDS = {
    ("tests file", "version"): "`1`",
    ("tests file", "rules"): "list of patterns",
    ("tests file", "config"): "path",
    ("tests file", "service"): "name, or a mapping",
    ("tests file", "traffic"): "mapping: variant to weight or mapping",
    ("tests file", "begins"): "time",
    ("tests file", "tests"): "list of tests",
    ("test", "service"): "name, or a mapping",
    ("test", "traffic"): "mapping: variant to weight or mapping",
    ("test", "begins"): "time",
    ("test", "series"): "mapping: series to samples or mapping",
    ("test", "events"): "list of events",
    ("test", "expect"): "list of expectations",
    ("tested service", "rules"): "list of rules",
    ("series", "samples"): "samples",
    ("event", "deploy"): "version, or a mapping",
    ("event", "patch"): "mapping: variant to weight or mapping",
    **{("event", name): "name of a person, or a mapping" for name in _PEOPLE},
    **{("event", name): "mapping" for name in (*_VOUCHED, "silence")},
    ("event", "clock"): "`+` or `-` and a duration",
    **{("expectation", what.value): "word, or a mapping" for what in What},
    ("expectation", "within"): "list of two durations",
}
DEFAULTS = {
    ("tests file", "version"): "required",
    ("tests file", "rules"): "this or `config` is required",
    ("tests file", "config"): "this or `rules` is required",
    ("tests file", "tests"): "required",
    ("test", "service"): "the file's",
    ("test", "traffic"): "the file's, else as it says",
    ("test", "begins"): "the file's, else as it says",
    ("test", "every"): "the file's, else the rule's interval",
    ("test", "until"): "as it says",
    ("test", "strict"): "the file's",
    ("test", "expect"): "required unless it is strict",
    ("event", "service"): "the service under test",
    ("event deploy", "variant"): "as it says",
    ("series", "every"): "the test's",
    ("series", "events"): "`10000`",
    ("tested service", "rollback"): "unchanged",
    **{
        ("tested service", name): "unchanged" for name in ("environment", "labels", "rules", "mode", "gitops")
    },
    ("tested service", "name"): "the only one",
    ("tested variant", "ready"): "`1`",
    ("tested variant", "total"): "as many as are ready",
}
HEAD = ("kind", "a word is its", "fields")


def rows() -> Iterator[Sequence[str]]:
    """What each kind of happening says."""
    for what in What:
        fields = ", ".join(f"`{name}`" for name in FIELDS[what])
        yield f"`{what.value}`", f"`{MAIN[what]}`", fields
