"""An empty selection must never mean "everything", nor "nothing, and nobody is told": each is refused at its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from watchdog.config.check import check

ROOT = Path(__file__).parents[2]
ENVIRON = {"WATCHDOG_CI_TOKEN": "t" * 32}
_SWITCH = "{blue: srv_blue, green: srv_green}"
_NGINX = """kind: nginx
      upstream_file: /etc/nginx/conf.d/trips_upstream.conf
      upstream: trips
      variants: """
_HAPROXY = f"""kind: haproxy
      socket: /run/haproxy/admin.sock
      backend: trips
      variants: {_SWITCH}"""
_SERVICES = "services:\n"
_LOG = "\n  log: {kind: log}"

#: What is written in a good configuration, and the empty selection put in its place.
EMPTY = {
    "rule files": ("rules: [../rules/web.yaml]", "rules: []"),
    "a pattern that finds no file": ("../rules/web.yaml", "../rules/*.yml"),
    "an empty pattern": ("../rules/web.yaml", ""),
    "rules of a service": ("rules: [{tag: web}]", "rules: []"),
    "a tag that no rule has": ("{tag: web}", "{tag: wob}"),
    "an empty tag": ("{tag: web}", "{tag: ''}"),
    "variants": (_SWITCH, "{}"),
    "one variant of two": (_SWITCH, "{blue: srv_blue}"),
    "servers of a variant": (_SWITCH, "{blue: srv_blue, green: []}"),
    "a server without a name": (_SWITCH, "{blue: srv_blue, green: ''}"),
    "variants of nginx": (_HAPROXY, _NGINX + "{}"),
    "addresses of a variant of nginx": (_HAPROXY, _NGINX + '{blue: "127.0.0.1:8081", green: []}'),
    "channels": (_LOG, " {}"),
    "channels of a route": ("{to: [log]}", "{to: []}"),
    "routes": ("routes:\n  - {to: [log]}", "routes: []"),
    "the words of a route": (
        "  - {to: [log]}",
        "  - {match: {environment: stagin}, to: [log]}\n  - {to: [log]}",
    ),
    "the programs of a command": (_HAPROXY, "{kind: command, read: [], apply: [true, '{variant}']}"),
    "pages of a scrape source": (
        '{kind: prometheus, url: "http://127.0.0.1:9090", timeout: 5s}',
        "{kind: scrape, urls: [], interval: 5s}",
    ),
}
RULES = {
    "rules of a file": "version: 1\nrules: []\n",
    "a match without labels": """version: 1
rules:
  - name: errors
    ratio: {bad: 'bad_total{version="$version"}', total: 'all_total{version="$version"}'}
    match: {}
    threshold: {critical: 1%, rollback: 150%}
    tags: [web]
""",
    "a selector that selects everything": """version: 1
rules:
  - name: errors
    ratio: {bad: '{}', total: 'all_total{version="$version"}'}
    threshold: {critical: 1%, rollback: 150%}
    tags: [web]
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("config", "rules"):
        shutil.copytree(ROOT / name, tmp_path / name)
    assert check(tmp_path / "config" / "staging.yaml", ENVIRON).ok
    return tmp_path


@pytest.mark.parametrize("what", EMPTY)
def test_an_empty_selection_is_refused(folder: Path, what: str) -> None:
    main = folder / "config" / "staging.yaml"
    old, new = EMPTY[what]
    text = main.read_text()
    assert text.count(old) == 1, what
    main.write_text(text.replace(old, new))
    checked = check(main, ENVIRON)

    assert checked.problems, what
    assert checked.summary is None


def test_no_services_are_refused(folder: Path) -> None:
    main = folder / "config" / "staging.yaml"
    text = main.read_text()
    begin, end = text.index(_SERVICES), text.index("environments:")
    for none in ("services: []\n\n", "", "services:\n\n"):
        main.write_text(text[:begin] + none + text[end:])
        assert check(main, ENVIRON).problems, none


@pytest.mark.parametrize("what", RULES)
def test_rules_that_select_nothing_or_everything_are_refused(folder: Path, what: str) -> None:
    (folder / "rules" / "web.yaml").write_text(RULES[what])
    problems = check(folder / "config" / "staging.yaml", ENVIRON).problems

    assert any(it.at.file.name == "web.yaml" for it in problems), problems


def test_a_route_that_takes_nothing_is_worth_a_note(folder: Path) -> None:
    main = folder / "config" / "staging.yaml"
    main.write_text(
        main.read_text().replace("  - {to:", "  - {match: {environment: ''}, to: [log]}\n  - {to:")
    )
    notes = check(main, ENVIRON).notes

    assert any("this route takes nothing now" in it.message for it in notes), notes
