"""Transition tables: every (state, event) pair is listed, or it is a fault.

A machine moves, ignores on purpose, or raises `TransitionError`. This module must never hold a state of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from watchdog.core.errors import TransitionError


S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Generic[S, E]):
    """A named table `(state, event) -> next state`; a pair that maps to its own state is ignored on purpose."""

    name: str
    table: Mapping[tuple[S, E], S]

    def step(self, state: S, event: E) -> S:
        """The next state. Raises `TransitionError` for a pair that is not listed."""
        try:
            return self.table[(state, event)]
        except KeyError:
            raise TransitionError(f"{self.name}: no transition for {event} in state {state}") from None

    def accepts(self, state: S, event: E) -> bool:
        """Whether the pair is listed."""
        return (state, event) in self.table

    def edges(self) -> Iterator[tuple[S, E, S]]:
        """Every listed move, for diagrams and tests; pairs ignored on purpose are left out."""
        for (state, event), after in self.table.items():
            if after is not state:
                yield state, event, after
