"""Which mutants are tried, and with which tests.

mutmut wrote the mutants and noted, in a run without any, which test calls which function. A mutant that differs from
the original in nothing but the wording of a text is not tried: texts are for people. The tests of the module's own
file come first, then the quick ones; the slowest are left out where a mutant would take more than its budget.
"""

from __future__ import annotations

import ast
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: One mutant's tests may take this long together, in the seconds that a run without mutants needed.
BUDGET = 1.0


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """`name` is mutmut's (`watchdog.core.guards.x_armed__mutmut_3`), `function` what it is a mutant of."""

    name: str
    module: str
    function: str
    wording: bool


class _Silent(ast.NodeTransformer):
    """Texts with a blank in them, whatever is filled into them, and lines of the log become one and the same."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("…") if isinstance(node.value, str) and " " in node.value else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        spoken = any(isinstance(it, ast.Constant) and " " in str(it.value) for it in node.values)
        return ast.Constant("…") if spoken else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in {"_log", "log"}:
            return ast.Constant("…")
        return self.generic_visit(node)


def mutants_in(folder: Path, file: str) -> Iterator[Mutant]:
    """All mutants of one file, in its order; none of a file without functions. `folder` is mutmut's."""
    if not (folder / f"{file}.meta").exists():
        return
    module = file.removesuffix(".py").replace("/", ".")
    silent = _Silent().visit(ast.parse((folder / file).read_text()))
    means = {
        node.name: ast.dump(node.args) + "".join(ast.dump(line) for line in node.body)
        for node in ast.walk(silent)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "__mutmut_" in node.name
    }
    for name in json.loads((folder / f"{file}.meta").read_text())["exit_code_by_key"]:
        function, _, _ = name.rpartition("__mutmut_")
        mutant, original = (it.removeprefix(f"{module}.") for it in (name, f"{function}__mutmut_orig"))
        yield Mutant(name=name, module=module, function=function, wording=means[mutant] == means[original])


def plan(folder: Path, files: list[str], *, sample: int | None, seed: int) -> list[dict[str, Any]]:
    """What `tests.mutants.forking` runs. `sample`: at most so many of one file, chosen by `seed`."""
    noted = json.loads((folder / "mutmut-stats.json").read_text())
    took: dict[str, float] = noted["duration_by_test"]
    chosen: list[dict[str, Any]] = []
    wide = Counter(it for tests in noted["tests_by_mangled_function_name"].values() for it in tests)
    for file in files:
        mutants = [it for it in mutants_in(folder, file) if not it.wording]
        if sample is not None and len(mutants) > sample:
            kept = set(random.Random(f"{seed} {file}").sample(range(len(mutants)), sample))
            mutants = [it for index, it in enumerate(mutants) if index in kept]
        for it in mutants:
            reaching = noted["tests_by_mangled_function_name"].get(it.function, [])
            tests, seconds = _within(reaching, took, wide, own=f"test_{Path(file).stem}")
            chosen.append({"mutant": it.name, "tests": tests, "seconds": 20 + 5 * seconds})
    return chosen


def _within(
    reaching: list[str], took: dict[str, float], wide: Counter[str], *, own: str
) -> tuple[list[str], float]:
    # A test that reaches few functions is most likely about this one.
    order = sorted(reaching, key=lambda it: (own not in it, wide[it] * (0.01 + took.get(it, 0.0))))
    tests: list[str] = []
    seconds = 0.0
    for it in order:
        needs = took.get(it, 0.0)
        if own in it or seconds + needs <= BUDGET:
            tests.append(it)
            seconds += needs
    return tests, seconds
