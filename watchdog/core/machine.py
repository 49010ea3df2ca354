"""Transition tables: every (state, event) pair moves, is ignored on purpose, or is a fault that says why it is one.

This module must never hold a state of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from watchdog.core.errors import TransitionError

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


def never(states: Iterable[S], events: Iterable[E], why: str) -> dict[tuple[S, E], str]:
    """Pairs that cannot happen, and why: reaching one is a fault of ours."""
    heard = tuple(events)
    return {(state, event): why for state in states for event in heard}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Generic[S, E]):
    """A named table `(state, event) -> next state`; a pair that maps to its own state is ignored on purpose.

    `faults` are all other pairs, each with the reason why it cannot happen.
    """

    name: str
    table: Mapping[tuple[S, E], S]
    faults: Mapping[tuple[S, E], str]

    def step(self, state: S, event: E) -> S:
        """The next state. Raises `TransitionError` for a pair that is not listed."""
        try:
            return self.table[(state, event)]
        except KeyError:
            why = self.faults.get((state, event), "not listed")
            raise TransitionError(f"{self.name}: no transition for {event} in state {state}: {why}") from None

    def accepts(self, state: S, event: E) -> bool:
        """Whether the pair is listed."""
        return (state, event) in self.table

    def edges(self) -> Iterator[tuple[S, E, S]]:
        """Every listed move, for diagrams and tests; pairs ignored on purpose are left out."""
        for (state, event), after in self.table.items():
            if after is not state:
                yield state, event, after
