"""Plays a page: writes its files, runs its commands in order, and says what they printed."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.normalise import Names, normalised
from tests.docs.pages import Block, Command, before, blocks_of, commands_of
from tests.docs.shell import Shell
from tests.servers.ports import free_port
from tests.servers.require import require

#: Longest time for one command (seconds).
_WITHIN = 30.0
#: The ports that `console shell` blocks name. In a test each is another, free one.
_PORTS = re.compile(r"(?<=[:/ ])(?:808[0-3]|9911)\b")


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A `watchdog demo --keep` that has come to its end: what it printed, and how to reach it."""

    printed: str
    url: str
    token: str


@dataclass(kw_only=True)
class Played:
    """One block after its commands ran: what the page should show, and whether it does."""

    block: Block
    text: str
    same: bool


@dataclass(kw_only=True)
class Player:
    """Plays the blocks of one page. `demo` is asked for when the first block needs it."""

    folder: Path
    demo: Callable[[], Demo]
    environment: dict[str, str] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    code: int = 0
    shell: Shell | None = None
    ports: dict[str, str] = field(default_factory=dict)

    def play(self, page: str) -> list[Played]:
        """Every block of the page that shows what was printed."""
        blocks = blocks_of(page)
        if not any(block.kind == "console shell" for block in blocks):
            return self._all(blocks)
        for program in ("haproxy", "curl", "sqlite3"):
            require(program)
        self.shell = Shell(self.folder, self._variables())
        try:
            self._all(before(page))
            return self._all(blocks)
        finally:
            self.shell.close()

    def _all(self, blocks: list[Block]) -> list[Played]:
        played = []
        for block in blocks:
            if block.file:
                folder = self.shell.folder if self.shell else self.folder
                (folder / block.file).write_text(self._now(block.text))
            if block.kind in {"console", "console demo", "console shell"}:
                played.append(self._console(block))
            elif block.kind == "http demo":
                played.append(self._http(block))
        return played

    def _now(self, text: str) -> str:
        """The text with the names and ports of this run."""
        text = self.names.translated(text)
        if self.shell is None:
            return text
        return _PORTS.sub(lambda found: self.ports.setdefault(found[0], str(free_port())), text)

    def _then(self, text: str) -> str:
        """What was printed with the ports of the page, and at somebody's home."""
        if self.shell is None:
            return text
        text = text.replace(str(self.folder), "/home/you")
        for shown, taken in self.ports.items():
            text = re.sub(rf"\b{taken}\b", shown, text)
        return text

    def _console(self, block: Block) -> Played:
        text, same = "", True
        for command in commands_of(block.text):
            words = self._now(command.words)
            printed = self._then(self._printed(block, command, words))
            self.names.learn(command.shown, printed)
            shown = self.names.translated(command.shown)
            same = same and normalised(shown) == normalised(printed)
            text += f"$ {self._then(words)}\n{printed}"
        return Played(block=block, text=text, same=same)

    def _printed(self, block: Block, command: Command, words: str) -> str:
        if words == "echo $?":
            code, self.code = self.code, 0
            return f"{code}\n"
        assert self.code == 0, (
            f"line {block.line}: exit {self.code} before `{words}`; show it with `$ echo $?`"
        )
        if words == "watchdog demo --keep":
            return self.demo().printed
        if block.kind == "console shell":
            assert self.shell is not None
            printed, self.code = self.shell.run(words)
            return printed
        reached: Mapping[str, str] = {}
        if block.kind == "console demo":
            demo = self.demo()
            reached = {"WATCHDOG_URL": demo.url, "WATCHDOG_TOKEN": demo.token}
        return self._run(words, reached)

    def _variables(self) -> dict[str, str]:
        places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"]
        return {
            "PATH": os.pathsep.join(places),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "COLUMNS": "80",
            **self.environment,
        }

    def _run(self, words: str, reached: Mapping[str, str]) -> str:
        kept = f"{words}\ncode=$?; env -0 > .environment; exit $code"
        done = subprocess.run(
            ["bash", "-c", kept],
            cwd=self.folder,
            env={**self._variables(), **reached},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_WITHIN,
            check=False,
        )
        if words.startswith("export "):
            lines = (self.folder / ".environment").read_text().split("\0")
            named = set(re.findall(r"(\w+)=", words))
            kept_on = (line.split("=", 1) for line in lines if line.partition("=")[0] in named)
            self.environment |= dict(kept_on)
        self.code = done.returncode
        return done.stdout.decode()

    def _http(self, block: Block) -> Played:
        """`METHOD PATH`, headers, an empty line, perhaps a body and an empty line; then the answer."""
        asked, _, shown = block.text.partition("\nHTTP ")
        head, _, body = asked.partition("\n\n")
        first, *lines = head.splitlines()
        method, path = first.split()
        demo = self.demo()
        headers = dict(line.split(": ", 1) for line in lines)
        if "Authorization" in headers:
            headers["Authorization"] = headers["Authorization"].replace("TOKEN", demo.token)
        connection = http.client.HTTPConnection(demo.url.removeprefix("http://"), timeout=_WITHIN)
        try:
            connection.request(method, self.names.translated(path), body.strip() or None, headers)
            answer = connection.getresponse()
            printed = f"{answer.status} {answer.headers.get_content_type()}\n{_pretty(answer.read())}\n"
        finally:
            connection.close()
        self.names.learn(shown, printed)
        same = normalised(self.names.translated(shown)) == normalised(printed)
        return Played(block=block, text=f"{self.names.translated(asked)}\nHTTP {printed}", same=same)


def _pretty(body: bytes) -> str:
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False)


def rewritten(page: str, played: list[Played]) -> str:
    """The page with what was printed in place of what it showed."""
    for one in reversed(played):
        page = page[: one.block.start] + one.text + page[one.block.end :]
    return page
