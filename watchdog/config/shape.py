"""Validation of one mapping by its pydantic model, every mistake at its place, going on after each.

A misspelt key is told and then read as what it nearly is, a bad value is told and then left out, so that one run finds
everything. This module must never judge what needs more than one mapping.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from watchdog.config.nodes import Node, Part
from watchdog.config.problems import Problems, quote
from watchdog.config.wording import wording
from watchdog.settings.registry import nearest

M = TypeVar("M", bound=BaseModel)

#: So alike that reading one as the other finds more mistakes than it makes.
_SURE = 0.75
#: Rounds of "tell, repair, look again". Each takes at least one key out of the mapping or reveals one value.
_ROUNDS = 200


def shape(
    model: type[M], node: Node, problems: Problems, *, also: tuple[str, ...] = ()
) -> tuple[M | None, frozenset[str]]:
    """`node` as a `model`, and the top-level keys that had a mistake (they have the model's default then).

    `None` when not even that can be made. `also` are keys that are valid beside the model's, for the nearest name.
    """
    if node.entries is None:
        if not node.reported:
            problems.add(node.at, f"expected a mapping, found {node.describe()}")
        return None, frozenset(model.model_fields)
    broken: set[str] = set()
    excused: set[tuple[int, str]] = set()
    for _ in range(_ROUNDS):
        try:
            return model.model_validate(node.without(*broken).data()), frozenset(broken)
        except ValidationError as fault:
            errors = fault.errors(include_url=False, include_input=False)
        if _reveal(errors, node):
            continue
        if not _Round(model, node, problems, also, broken, excused).tell(errors):
            break
    return None, frozenset(broken)


def _reveal(errors: list[ErrorDetails], node: Node) -> bool:
    """Give looked-up values as plain text where a secret was refused. Whether there was any."""
    refused = [node.find(error["loc"]) for error in errors]
    fresh = [it for it in refused if it.tag and not it.revealed]
    for it in fresh:
        it.revealed = True
    return bool(fresh)


class _Round:
    """One round: tell every error, repair what can be repaired."""

    def __init__(
        self,
        model: type[BaseModel],
        node: Node,
        problems: Problems,
        also: tuple[str, ...],
        broken: set[str],
        excused: set[tuple[int, str]],
    ) -> None:
        self._model = model
        self._node = node
        self._problems = problems
        self._also = also
        self._broken = broken
        self._excused = excused
        self._repairs: list[tuple[Node, str, str | None]] = []
        self._told: set[int] = set()

    def tell(self, errors: list[ErrorDetails]) -> bool:
        """Whether another round makes sense."""
        before = len(self._broken)
        for error in errors:
            if error["type"] == "extra_forbidden":
                self._unknown(error["loc"])
            elif error["type"] != "missing":
                self._wrong(error)
        for error in errors:
            if error["type"] == "missing":
                self._missing(error["loc"])
        for parent, key, better in self._repairs:
            if better is None:
                parent.drop(key)
            else:
                parent.rename(key, better)
        return bool(self._repairs) or len(self._broken) > before

    def _unknown(self, loc: tuple[Part, ...]) -> None:
        key, parent = str(loc[-1]), self._node.find(loc[:-1])
        known = set(_known(self._model, loc[:-1])) | set(self._also if len(loc) == 1 else ())
        missing = sorted(known - set(parent.keys()))
        guess = nearest(key, missing) or nearest(key, sorted(known))
        hint = f"did you mean {guess!r}?" if guess else f"known: {', '.join(sorted(known))}"
        self._problems.add(parent.at_key(key), f"unknown key {quote(key)}; {hint}")
        sure = guess in missing and guess not in self._also and _alike(key, str(guess)) >= _SURE
        if guess is not None:
            self._excused.add((id(parent), guess))
        taken = any(it[0] is parent and it[2] == guess for it in self._repairs)
        self._repairs.append((parent, key, guess if sure and not taken else None))

    def _missing(self, loc: tuple[Part, ...]) -> None:
        parent = self._node.find(loc[:-1])
        excused = (id(parent), str(loc[-1])) in self._excused
        if not excused and str(loc[0]) not in self._broken and not parent.reported:
            self._problems.add(parent.at, f"missing key {quote(str(loc[-1]))}")
        if len(loc) > 1:
            self._broken.add(str(loc[0]))

    def _wrong(self, error: ErrorDetails) -> None:
        loc = error["loc"]
        if not loc and self._broken:
            return  # of the whole, judged without what was told already
        node = self._node.find(loc)
        about_key = bool(loc) and loc[-1] == "[key]"
        # The members of a union complain one by one about the same value: the first says enough.
        # What is too short because of a mistake told already is no second mistake.
        if error["type"] == "too_short" and (
            node.lost or error["ctx"]["actual_length"] < len(node.items or ())
        ):
            self._told.add(id(node))
        if not node.reported and (about_key or id(node) not in self._told):
            at = self._node.at_key(*loc[:-1]) if about_key else node.at
            self._problems.add(at, wording(error, node))
            self._told.add(id(node))
        if error["loc"]:
            self._broken.add(str(error["loc"][0]))


def _alike(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _known(model: type[BaseModel], loc: tuple[Part, ...]) -> Iterator[str]:
    """The keys that are valid at `loc`; parts that name no field (indexes, union members) are stepped over."""
    models = [model]
    for part in loc:
        deeper = [
            inner
            for outer in models
            for name, field in outer.model_fields.items()
            if _written(name, field) == part
            for inner in _models(field.annotation)
        ]
        models = deeper or models
    for found in models:
        yield from (_written(name, field) for name, field in found.model_fields.items())


def _written(name: str, field: Any) -> str:
    alias = field.validation_alias or field.alias
    return alias if isinstance(alias, str) else name


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
