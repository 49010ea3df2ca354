"""The pages people read, cut into fenced blocks. What a block is for stands behind its language in the fence.

    yaml file=NAME      written into the page's folder before the commands after it
    yaml tests file=NAME    tests of rules, played by the commands after it
    yaml rules          rules, put under `rules:` and loaded
    yaml sections       top-level keys of a configuration, put over a complete one and loaded
    yaml pipeline       jobs of a CI service; their `watchdog` commands are parsed
    yaml prometheus     a configuration of Prometheus, judged by it
    haproxy file=NAME   the same, and judged by HAProxy itself
    nginx file=NAME     an upstream, judged by nginx itself and read by the switch
    python file=NAME    a program, written likewise; so is `bash file=NAME`
    console             commands behind `$`, run in the page's folder; what they print stands below each
    console shell       the same in one shell, as in one terminal, with other ports; what runs is ended after the page
    console demo        the same beside a `watchdog demo --keep` that has come to its end
    console kubernetes  run against a real API server where there is one, by `tests.docs.clusters`
    yaml kubernetes file=NAME    manifests, for those commands
    console make        targets of the Makefile, which must exist
    console install     run with another folder in place of /opt/rollback-watchdog, offline
    http demo           a request to that demo's daemon, and its answer
    python receiver     defines `is_ours(headers, body)`, which the real channel is tried on
    json webhook        the body that the real channel sends
    text message KIND   a message as it is sent, from `tests.docs.messages`; so is `text message short KIND`
    jinja NAME          a template of the user's for the words of messages
    text escalation     the story of `tests.docs.escalation`: who was told what, when
    text                commands that change the machine: not run

`<!-- goes on from: PAGE.md, before: HEADING -->` in a page: what stands in that page above the heading is played first.
Between `<!-- table: NAME -->` and `<!-- end -->` stands a table that `tests.docs.reference` makes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(
    r"^<!-- table: (?P<name>[^\n]+?) -->\n(?P<text>.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL
)

_GOES_ON = re.compile(r"^<!-- goes on from: (?P<page>\S+), before: (?P<heading>[^\n]+?) -->$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block: `kind` is the fence's words without `file=`; `start` and `end` bound `text` in the page."""

    kind: str
    file: str
    text: str
    start: int
    end: int
    line: int


@dataclass(frozen=True, kw_only=True)
class Command:
    """One `$` line of a console block and what is shown below it."""

    words: str
    shown: str


def name_of(page: Path) -> str:
    """A page's name in messages, such as `docs/rules`."""
    return str(page.relative_to(ROOT).with_suffix(""))


def blocks_of(page: str) -> list[Block]:
    """Every fenced block of a page, in order."""
    found = []
    for match in _FENCE.finditer(page):
        words = match["info"].split()
        files = [word.removeprefix("file=") for word in words if word.startswith("file=")]
        found.append(
            Block(
                kind=" ".join(word for word in words if not word.startswith("file=")),
                file=files[0] if files else "",
                text=match["text"],
                start=match.start("text"),
                end=match.end("text"),
                line=page.count("\n", 0, match.start()) + 1,
            )
        )
    return found


def before(page: str) -> list[Block]:
    """The blocks of another page that a page goes on from; none for one that begins with nothing."""
    found = _GOES_ON.search(page)
    if found is None:
        return []
    whole = (ROOT / "docs" / found["page"]).read_text()
    above, heading, _ = whole.partition(f"\n## {found['heading']}\n")
    if not heading:
        raise ValueError(f"{found['page']} has no heading {found['heading']!r}")
    return blocks_of(above)


def commands_of(text: str) -> list[Command]:
    """The commands of a console block. A line that ends with a backslash goes on in the next one."""
    found: list[Command] = []
    lines = iter(text.splitlines(keepends=True))
    for line in lines:
        if line.startswith("$ "):
            words = line.removeprefix("$ ")
            while words.endswith("\\\n"):
                words += next(lines)
            found.append(Command(words=words.rstrip("\n"), shown=""))
        elif found:
            found[-1] = Command(words=found[-1].words, shown=found[-1].shown + line)
        else:
            raise ValueError(f"a console block begins with a command, not with {line!r}")
    return found


def tables_of(page: str) -> dict[str, str]:
    """Every generated table of a page, by name."""
    return {match["name"]: match["text"] for match in _TABLE.finditer(page)}


def with_tables(page: str, tables: dict[str, str]) -> str:
    """The page with these tables in their places."""
    return _TABLE.sub(
        lambda match: f"<!-- table: {match['name']} -->\n{tables[match['name']]}<!-- end -->", page
    )
