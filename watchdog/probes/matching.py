"""Searching a regular expression in what a target said, without letting it stop the daemon.

Python's expressions can take exponential time, have no time limit, and hold the interpreter while they search, so that
neither the loop nor a thread could go on. Hence only expressions that cannot repeat anything are searched here; all
others are searched by a child process, which is killed when its second is over. This module must never search an
expression with a repetition in the daemon's own process.
"""

from __future__ import annotations

import re
import sys
from typing import Final

from watchdog.aio.child import NotStarted, Overrun, run

#: Longest time for one search, in seconds.
WITHIN: Final = 1.0
#: Most alternatives that are tried here: each can at most double the work.
_FORKS: Final = 3
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_CLASS = re.compile(r"\[[^\]]*\]")
_REPEATS = re.compile(r"[*+?{]")
_FOUND, _NOT_FOUND = 10, 11
#: Ends by itself, too, when the daemon was killed and nobody ends it.
_CHILD: Final = f"""
import re, signal, sys
signal.alarm(5)
said = sys.stdin.buffer
expression = said.read(int(said.readline())).decode()
sys.exit({_FOUND} if re.search(expression, said.read().decode(), re.MULTILINE) else {_NOT_FOUND})
"""


class NotSearched(Exception):
    """Nobody knows whether it is there. `str()` says why."""


async def found(expression: str, text: str, *, within: float = WITHIN) -> bool:
    """Whether a valid expression is found in a text; `^` and `$` match at every line.

    Raises `NotSearched`, after `within` seconds at the latest.
    """
    if _is_plain(expression):
        return re.search(expression, text, re.MULTILINE) is not None
    encoded = expression.encode(errors="replace")
    content = b"%d\n" % len(encoded) + encoded + text.encode(errors="replace")
    try:
        done = await run(
            [sys.executable, "-I", "-S", "-c", _CHILD],
            cwd=None,
            environment={},
            timeout=within,
            within=within,
            stop_when_full=False,
            stdin=content,
        )
    except Overrun:
        raise NotSearched(f"the search for {expression!r} was not over after {within:g} s") from None
    except NotStarted as fault:
        raise NotSearched(f"the search for {expression!r} {fault}") from fault
    if done.code not in {_FOUND, _NOT_FOUND}:
        raise NotSearched(f"the search for {expression!r} ended with code {done.code}")
    return done.code == _FOUND


def _is_plain(expression: str) -> bool:
    """Whether nothing in it repeats, so that a search takes time in proportion to the text."""
    bare = _CLASS.sub("", _ESCAPED.sub("", expression))
    return _REPEATS.search(bare) is None and bare.count("|") <= _FORKS
