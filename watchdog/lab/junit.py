"""JUnit XML of tests of rules, as CI services read it. This module must never play a test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from watchdog.lab.testfile_run import Outcome, Ran

#: What no XML 1.0 document may contain, escaped or not.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(ran: Sequence[Ran]) -> str:
    """One document: a suite for each file, a case for each test; a file with mistakes is one case with an error."""
    root = ET.Element("testsuites", name="watchdog rules test")
    for one in ran:
        _suite(root, one)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", _seconds(sum(outcome.seconds for one in ran for outcome in one.outcomes)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, ran: Ran) -> None:
    path = _clean(str(ran.path))
    suite = ET.SubElement(
        root,
        "testsuite",
        name=path,
        tests=str(len(ran.outcomes) or bool(ran.problems) * 1),
        failures=str(sum(not one.ok for one in ran.outcomes)),
        errors=str(int(bool(ran.problems))),
        time=_seconds(sum(one.seconds for one in ran.outcomes)),
    )
    if ran.problems:
        case = ET.SubElement(suite, "testcase", classname=path, name="is without mistakes", time="0.000")
        count = len(ran.problems)
        error = ET.SubElement(case, "error", message=f"{count} mistake{'s' if count > 1 else ''} in the file")
        error.text = _clean("\n".join(map(str, ran.problems)))
    for outcome in ran.outcomes:
        _case(suite, path, outcome)


def _case(suite: ET.Element, path: str, outcome: Outcome) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=path,
        name=_clean(outcome.case.name),
        file=path,
        line=str(outcome.case.at.line),
        time=_seconds(outcome.seconds),
    )
    if outcome.failed:
        first = outcome.failed[0]
        failure = ET.SubElement(case, "failure", message=_clean(f"expected {first.expected}"))
        failure.text = _clean(
            "\n".join(
                f"{one.place or outcome.case.at.file}: expected {one.expected}; {one.instead}"
                for one in outcome.failed
            )
        )


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
