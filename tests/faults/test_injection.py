"""Names, versions and labels that are code in some language: wherever they go, they stay one text.

A version comes from whoever may announce a deployment, a label from the configuration, a series from any exporter.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import shlex
import sys
import urllib.parse
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.core.scenario import Scenario, rule
from tests.servers.prometheus import Prometheus
from watchdog.channels.rendering import Rendering, as_text
from watchdog.channels.webhook import encode
from watchdog.core.checks import filled_form
from watchdog.core.events import OutcomeKind
from watchdog.core.message import Message
from watchdog.core.observation import Pulse
from watchdog.core.promql import parts_of
from watchdog.core.rule import ProbeForm, Ratio
from watchdog.core.units import parse_duration
from watchdog.probes.command import CommandProbe
from watchdog.telemetry.redact import one_line

#: PromQL, templates of three kinds, a shell, `format`, HTML, a terminal, a log, a path, a broken escape.
CODE = (
    "{{7*7}}",
    "{% for x in y %}",
    "${7*7}",
    "#{7*7}",
    '"} or vector(1)#',
    '"}) or vector(1) or (up{a="',
    "\\",
    '\\"} or vector(1)#',
    "$(id)",
    "`id`",
    "'; id #",
    "a b; id && id | id",
    "--help",
    "{0.__class__.__mro__}",
    "%(now)s %s %n",
    "$service $version $label.team",
    "<script>alert(1)</script>",
    "two\nlines\r\nand more",
    "\x1b[31mred\x1b[0m",
    "\u202eesrever",
    "../../etc/passwd",
    "=cmd|' /C calc'!A0",
)


_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


async def test_prometheus_reads_one_text_whatever_a_version_is_called(
    start_prometheus: Callable[..., Prometheus],
) -> None:
    server = await asyncio.to_thread(start_prometheus)
    form = Ratio(bad='bad_total{t="$label.team",v="$version"}', total='all_total{s=~"$service"}')
    async with aiohttp.ClientSession(server.url, timeout=aiohttp.ClientTimeout(total=20)) as session:

        async def asked(path: str, query: str) -> dict[str, Any]:
            async with session.post(f"/api/v1/{path}", data={"query": query}) as answer:
                said: dict[str, Any] = await answer.json()
            assert said["status"] == "success", (query, said)
            return said

        for code in CODE:
            plain = re.escape(code)
            filled = filled_form(rule(form=form), {"version": code, "service": plain, "label.team": code})
            assert isinstance(filled, Ratio)
            bad = (await asked("format_query", filled.bad))["data"]
            total = (await asked("format_query", filled.total))["data"]
            assert (_TEXT.sub("_", bad), _TEXT.sub("_", total)) == (
                "bad_total{t=_,v=_}",
                "all_total{s=~_}",
            ), code
            assert [ast.literal_eval(it) for it in _TEXT.findall(bad + total)] == [code, code, plain]
            for query in parts_of(filled, parse_duration("1m")).values():
                assert (await asked("query", query))["data"]["result"] == [], code


@pytest.mark.parametrize("code", CODE)
def test_no_message_obeys_or_breaks_over_what_a_version_is_called(code: str) -> None:
    told, usual = _told(code), _told("v2")

    assert [one.kind for one in told] == [one.kind for one in usual]
    for one, other in zip(told, usual, strict=True):
        assert len(as_text(one).splitlines()) == len(as_text(other).splitlines())
        assert as_text(one).replace("\n", "").isprintable()
        assert as_text(one).count("49") == as_text(other).count("49")
        body, plain = json.loads(encode(one, key="k")), json.loads(encode(other, key="k"))
        assert body.keys() == plain.keys()
        assert body["service_version"] in {code, "blue", None}
    assert any(one_line(code) in as_text(one) for one in told)


@pytest.mark.parametrize("code", CODE)
def test_no_mail_and_no_text_message_obeys_what_a_version_is_called(code: str) -> None:
    told, usual, rendering = _told(code), _told("v2"), Rendering()

    for one, other in zip(told, usual, strict=True):
        made, plain = rendering.of(one, chart=True), rendering.of(other, chart=True)
        assert _tags(made.html) == _tags(plain.html)
        assert "\n" not in made.headline + made.short
        assert (made.headline + made.short).isprintable()
        assert made.html.count("49") == plain.html.count("49")


def _tags(html: str) -> Counter[str]:
    """How often each element is there; commands and the words between them are cut where they end."""
    found: Counter[str] = Counter()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.update([tag, *(name for name, _ in attrs)])  # type: ignore[method-assign]
    parser.feed(html)
    for name in ("div", "class", "style"):
        found.pop(name, None)
    return found


@pytest.mark.parametrize("code", CODE)
def test_a_command_in_a_message_has_one_word_for_what_a_version_is_called(code: str) -> None:
    """Whoever copies it into a shell runs one program, with one argument for it."""
    commands = {one.undo for one in _told(code) if one.undo}
    assert commands
    named = " ".join(code.split())
    for command in commands:
        words = list(shlex.shlex(command, posix=True, punctuation_chars=True))
        assert words.count(named) == 2, words
        assert [word for word in words if word != named] == [
            *("watchdog", "mark-good", "trips", "--reason", "TEXT", "&&"),
            *("watchdog", "rollback", "trips", "--to", "--reason", "TEXT"),
        ]


def _told(version: str) -> list[Message]:
    """Everything that is said of a rollback away from a version of this name."""
    story = Scenario().stable_blue()
    story.post(version, "green")
    story.after("5s").traffic(blue=0, green=1).after("35s").traffic()
    story.green_is_bad().after("1s").outcome(OutcomeKind.APPLIED, state=story.state(blue=1, green=0))
    story.after("2s").traffic()
    story.blue_recovers()
    return story.messages


@pytest.mark.parametrize("code", CODE)
async def test_a_program_gets_one_argument_whatever_a_version_is_called(code: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen.json"
    program = "import json, os, sys; json.dump([sys.argv[2:], os.environ['V']], open(sys.argv[1], 'w'))"
    settings = {
        "argv": [sys.executable, "-I", "-S", "-c", program, str(seen), "--version", "$version", "last"],
        "environment": {"V": "$version"},
    }
    filled = filled_form(rule(form=ProbeForm(kind="command", settings=settings)), {"version": code})
    assert isinstance(filled, ProbeForm)
    probe = CommandProbe()
    pulse = await probe.check(dict(filled.settings), now=datetime(2026, 3, 2, tzinfo=UTC))

    assert isinstance(pulse, Pulse)
    assert pulse.passed, pulse
    assert json.loads(seen.read_text()) == [["--version", code, "last"], code]


@pytest.mark.parametrize("code", CODE)
def test_an_address_has_one_more_segment_whatever_a_version_is_called(code: str) -> None:
    settings = {"url": "http://trips.internal:8080/at/$version/healthz"}
    filled = filled_form(rule(form=ProbeForm(kind="http", settings=settings)), {"version": code})
    assert isinstance(filled, ProbeForm)
    address = urllib.parse.urlsplit(filled.settings["url"])

    assert (address.hostname, address.port, address.query, address.fragment) == (
        "trips.internal",
        8080,
        "",
        "",
    )
    parts = address.path.split("/")
    assert [urllib.parse.unquote(part) for part in parts] == ["", "at", code, "healthz"]
