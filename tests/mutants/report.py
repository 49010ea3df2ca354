"""The score: for each module what became of its mutants, and the list of those that survived."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from tests.mutants.plan import Mutant

HEAD = ("module", "mutants", "wording", "tried", "killed", "timeout", "survived", "score")


def found_in(file: Path) -> dict[str, str]:
    """What became of each mutant that was tried."""
    lines = (json.loads(line) for line in file.read_text().splitlines())
    return {line["mutant"]: line["end"] for line in lines}


def table(mutants: Iterable[Mutant], ends: dict[str, str]) -> str:
    """One row a module, and the sum. A timeout counts as killed: the mutant was noticed."""
    made: dict[str, Counter[str]] = defaultdict(Counter)
    for it in mutants:
        count = made[it.module.removeprefix("watchdog.")]
        count["mutants"] += 1
        count["wording"] += it.wording
        end = ends.get(it.name)
        if end is not None and not it.wording:
            count["tried"] += 1
            count[end] += 1
    rows = [_row(f"`{module}`", count) for module, count in sorted(made.items()) if count["tried"]]
    rows.append(_row("all", sum((it for it in made.values() if it["tried"]), Counter())))
    lines = [HEAD, ("---",) * len(HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(name: str, count: Counter[str]) -> tuple[str, ...]:
    noticed = count["killed"] + count["timeout"]
    survived = count["survived"] + count["no tests"]
    numbers = (
        count["mutants"],
        count["wording"],
        count["tried"],
        count["killed"],
        count["timeout"],
        survived,
    )
    return (name, *(str(it) for it in numbers), f"{100 * noticed / count['tried']:.1f} %")
