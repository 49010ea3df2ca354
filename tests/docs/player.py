"""Plays a page: writes its files, runs its commands in order, and says what they printed."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.normalise import Names, normalised
from tests.docs.pages import Block, Command, blocks_of, commands_of

#: Longest time for one command (seconds).
_WITHIN = 30.0


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

    def play(self, page: str) -> list[Played]:
        """Every block of the page that shows what was printed."""
        played = []
        for block in blocks_of(page):
            if block.file:
                (self.folder / block.file).write_text(block.text)
            if block.kind in {"console", "console demo"}:
                played.append(self._console(block))
            elif block.kind == "http demo":
                played.append(self._http(block))
        return played

    def _console(self, block: Block) -> Played:
        text, same = "", True
        for command in commands_of(block.text):
            words = self.names.translated(command.words)
            printed = self._printed(block, command, words)
            self.names.learn(command.shown, printed)
            shown = self.names.translated(command.shown)
            same = same and normalised(shown) == normalised(printed)
            text += f"$ {words}\n{printed}"
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
        reached: Mapping[str, str] = {}
        if block.kind == "console demo":
            demo = self.demo()
            reached = {"WATCHDOG_URL": demo.url, "WATCHDOG_TOKEN": demo.token}
        return self._run(words, reached)

    def _run(self, words: str, reached: Mapping[str, str]) -> str:
        places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        environment = {
            "PATH": os.pathsep.join(places),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "COLUMNS": "80",
            **self.environment,
            **reached,
        }
        kept = f"{words}\ncode=$?; env -0 > .environment; exit $code"
        done = subprocess.run(
            ["bash", "-c", kept],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_WITHIN,
            check=False,
        )
        if words.startswith("export "):
            lines = (self.folder / ".environment").read_text().split("\0")
            self.environment |= dict(line.split("=", 1) for line in lines if line.startswith("WATCHDOG_"))
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
