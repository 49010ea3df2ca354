"""Mistakes, collected: every one of a configuration is told at once, each at its place.

Whoever adds one passes only what may be read; what was looked up with `!env` or `!file` is blotted out here all the
same. This module must never let a secret into a message.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from watchdog.config.loaded import Position, Problem
from watchdog.core.errors import ConfigError
from watchdog.settings.registry import nearest

_LONGEST_QUOTE = 60
#: Shorter values are no secrets, and blotting them out would make nonsense of every message.
_SHORTEST_SECRET = 4
#: So alike that one is the other, misspelt (`difflib`'s ratio).
_SURE = 0.75
_PART = re.compile(r"[0-9]+|[^\W0-9_]+")


class InvalidConfiguration(ConfigError):
    """A configuration with mistakes. `problems` and `notes` are in the order of file, line and column."""

    def __init__(self, problems: tuple[Problem, ...], notes: tuple[Problem, ...] = ()) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.notes = notes


class Problems:
    """Where the loader's parts put what they find. The same words at the same place count once."""

    def __init__(self) -> None:
        self._problems: set[Problem] = set()
        self._notes: set[Problem] = set()
        self._hidden: set[str] = set()

    def __len__(self) -> int:
        """How many mistakes were found so far."""
        return len(self._problems)

    def add(self, at: Position, message: str) -> None:
        """One mistake; the configuration will not load."""
        self._problems.add(Problem(at=at, message=message))

    def note(self, at: Position, message: str) -> None:
        """One warning; the configuration loads all the same."""
        self._notes.add(Problem(at=at, message=message))

    def hide(self, secret: str) -> None:
        """Let no message show `secret`, in whatever form it was quoted."""
        if len(secret) >= _SHORTEST_SECRET:
            for form in (secret, secret[: _LONGEST_QUOTE - 1]):
                self._hidden |= {form, repr(form)[1:-1]}

    @property
    def notes(self) -> tuple[Problem, ...]:
        """All warnings, sorted."""
        return in_order(self._readable(it) for it in self._notes)

    def raise_if_any(self) -> None:
        """Raise `InvalidConfiguration` when there is a mistake."""
        if self._problems:
            raise InvalidConfiguration(in_order(self._readable(it) for it in self._problems), self.notes)

    def _readable(self, problem: Problem) -> Problem:
        message = problem.message
        for secret in sorted(self._hidden, key=len, reverse=True):
            message = message.replace(secret, "***")
        return problem if message == problem.message else Problem(at=problem.at, message=message)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """By file, line and column, as editors list them."""
    return tuple(sorted(problems, key=lambda it: (str(it.at.file), it.at.line, it.at.column, it.message)))


def quote(text: str) -> str:
    """What a user wrote, on one line, not endless, with nothing that moves a terminal's cursor."""
    return repr(text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…")


def meant(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` surely is a misspelling of, if any.

    `team-b` is another name than `team-a`, and `eu2` than `eu1`: where names have parts, the parts that differ must be
    alike themselves.
    """
    for guess in difflib.get_close_matches(name, sorted(known), n=3, cutoff=_SURE):
        ours, theirs = _PART.findall(name), _PART.findall(guess)
        differing = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != b]
        if len(ours) != len(theirs) or all(_is_misspelling(a, b) for a, b in differing):
            return guess
    return None


def _is_misspelling(one: str, other: str) -> bool:
    if one.isdigit() or other.isdigit():
        return False
    return difflib.SequenceMatcher(None, one, other).ratio() >= _SURE


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """`unknown rule 'healty'; did you mean 'healthy'? (known: …)`."""
    names = sorted(known)
    guess = nearest(name, names)
    hint = f"; did you mean {guess!r}?" if guess else ""
    listed = f"known: {', '.join(names)}" if names else "none is defined"
    return f"unknown {what} {quote(name)}{hint} ({listed})"
