"""`python -m benchmarks.detection DIR`: why what is usual is measured as it is, and how many deviations are critical.

Every row changes one number of the default and scores it on the labelled series below DIR, as `watchdog lab score`
does. Then the default is tried on other series than those it was chosen by: each series left out once, and series
drawn with replacement. The data are not in the repository (docs/score-card.md says where they are from).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from watchdog.core.baseline import USUAL_FLOOR, USUAL_OVER, USUAL_QUANTILE
from watchdog.core.rule import Direction, Holds, Level, Rule, Samples, Thresholds
from watchdog.lab.csv_track import read_folder
from watchdog.lab.replay import replay
from watchdog.lab.score import Course, alerts_of
from watchdog.lab.score_events import events_of
from watchdog.lab.score_figures import Counted, figures_of
from watchdog.lab.score_rules import calibrating, learnt_rule
from watchdog.lab.track import Track
from watchdog.lab.usual import usual

LEVELS = (Level.CRITICAL, Level.ROLLBACK)
Change = Callable[[Rule], Rule]


class Choice:
    """One way to detect: what is changed of the default."""

    def __init__(
        self,
        name: str,
        *,
        quantile: float = USUAL_QUANTILE,
        floor: float = USUAL_FLOOR,
        change: Change = lambda rule: rule,
    ) -> None:
        self.name, self.quantile, self.floor, self.change = name, quantile, floor, change

    def counted(self, track: Track) -> tuple[dict[Level, Counted], Counted]:
        """What was counted on one series, by level, and what the naive rule beside it found."""
        first = calibrating(track)
        labels = np.zeros(len(track), dtype=np.int8) if track.labels is None else track.labels
        course = Course(track, first, events_of(labels, first=first))
        rule = self.change(learnt_rule(track, Direction.ABOVE))
        over = USUAL_OVER if rule.baseline is None else rule.baseline.over or USUAL_OVER
        references = usual(track, over=over, window=rule.window, quantile=self.quantile, floor=self.floor)
        replayed = replay(rule, track, references=references, first=first)
        levels = {level: course.counted(alerts_of(replayed, level), replayed.known) for level in LEVELS}
        naive = dict(course.beside(Direction.ABOVE)).get("naive", Counted())
        return levels, naive


def deviations(critical: float) -> Change:
    """Critical at so many deviations, warning at four fifths, rollback at 150 % of it."""
    margins = Thresholds(warning=0.8 * critical, critical=critical, rollback=1.5 * critical)
    return lambda rule: replace(rule, baseline=rule.baseline and replace(rule.baseline, margins=margins))


def looking_back(days: float) -> Change:
    """What is usual is that of so many days, at most what the series begins with three times."""

    def change(rule: Rule) -> Rule:
        if rule.baseline is None or rule.baseline.over is None:
            return rule
        return replace(
            rule, baseline=replace(rule.baseline, over=min(timedelta(days=days), rule.baseline.over))
        )

    return change


def holding(critical: int, rollback: int) -> Change:
    """So many samples."""
    hold = Holds(warning=Samples(1), critical=Samples(critical), rollback=Samples(rollback))
    return lambda rule: replace(rule, hold=hold)


def clearing(samples: int) -> Change:
    """Clear after so many samples."""
    return lambda rule: replace(rule, clear=samples)


DEFAULT = Choice("the default")
CHOICES = (
    DEFAULT,
    *(Choice(f"spread up to the quantile {q:g}", quantile=q) for q in (0.7, 0.8, 0.9, 0.95)),
    *(
        Choice(f"at least {floor:.0%} of the median", floor=floor)
        for floor in (0.1, 0.2, 0.3, 0.35, 0.45, 0.5)
    ),
    *(Choice(f"the last {days} days", change=looking_back(days)) for days in (3, 7, 10)),
    *(Choice(f"critical at {k:g} deviations", change=deviations(k)) for k in (4, 4.5, 5.5, 6, 7)),
    Choice("rollback after 2 samples", change=holding(1, 2)),
    Choice("critical and rollback after 2 samples", change=holding(2, 2)),
    *(Choice(f"clear after {samples} samples", change=clearing(samples)) for samples in (1, 2, 5)),
)

#: Crash rates are to reach the first two, latencies the third.
TARGETS = {
    "critical 0.80 and 0.80": {"critical precision": 0.8, "critical recall": 0.8},
    "rollback 0.95 and 0.60": {"rollback precision": 0.95, "rollback recall": 0.6},
    "critical 2 times the precision at 0.8 of the recall of one sample above 150 %": {
        "critical precision, times that of one sample above 150 %": 2.0,
        "critical recall, times that of one sample above 150 %": 0.8,
    },
}


def main() -> None:
    """Read the arguments, score, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=1000, help="how often series are drawn")
    given = parser.parse_args()
    folders: dict[str, list[Track]] = {}
    for one in read_folder(given.folder).series:
        folders.setdefault(one.track.name.rpartition("/")[0] or ".", []).append(one.track)
    out = Console(highlight=False, width=240)
    for name, tracks in folders.items():
        out.print(_choices(name, tracks))
        out.print(_spread(name, tracks, given.draws))


def _choices(name: str, tracks: Sequence[Track]) -> Table:
    columns = (f"{level.value} {what}" for level in LEVELS for what in ("precision", "recall", "F1"))
    table = Table(name, *columns, box=MARKDOWN)
    for choice in CHOICES:
        found = [choice.counted(track)[0] for track in tracks]
        cells = []
        for level in LEVELS:
            figures = figures_of(sum((one[level] for one in found), Counted()))
            cells += [_shown(figures.precision), _shown(figures.recall), _shown(figures.f1)]
        table.add_row(choice.name, *cells)
    return table


def _spread(name: str, tracks: Sequence[Track], draws: int) -> Table:
    """How the default's figures differ when other series of the same kind are scored."""
    found = [DEFAULT.counted(track) for track in tracks]
    everything = list(range(len(found)))
    drawn = np.random.default_rng(0).integers(0, len(found), (draws, len(found)))
    left_out = [[other for other in everything if other != one] for one in everything]
    table = Table(name, "all", "without one of them", "drawn with replacement, 5 to 95 %", box=MARKDOWN)
    measures: list[tuple[str, Callable[[Sequence[int]], float]]] = [
        (f"{level.value} {what}", partial(_figure, [one[0][level] for one in found], what))
        for level in LEVELS
        for what in ("precision", "recall")
    ]
    measures += [
        (
            f"critical {what}, times that of one sample above 150 %",
            partial(_against, [one[0][Level.CRITICAL] for one in found], [one[1] for one in found], what),
        )
        for what in ("precision", "recall")
    ]
    for words, measure in measures:
        alone = [measure(chosen) for chosen in left_out]
        low, high = np.quantile([measure(chosen.tolist()) for chosen in drawn], (0.05, 0.95))
        shown = (
            f"{measure(everything):.2f}",
            f"{min(alone):.2f} to {max(alone):.2f}",
            f"{low:.2f} to {high:.2f}",
        )
        table.add_row(words, *shown)
    values = {words: np.array([measure(chosen.tolist()) for chosen in drawn]) for words, measure in measures}
    for words, wanted in TARGETS.items():
        reached = np.logical_and.reduce([values[measure] >= least for measure, least in wanted.items()])
        table.add_row(words, "", "", f"in {reached.mean():.0%} of draws")
    return table


def _against(ours: Sequence[Counted], theirs: Sequence[Counted], what: str, chosen: Sequence[int]) -> float:
    other = _figure(theirs, what, chosen)
    return _figure(ours, what, chosen) / other if other else 0.0


def _figure(found: Sequence[Counted], what: str, chosen: Sequence[int]) -> float:
    number = getattr(figures_of(sum((found[index] for index in chosen), Counted())), what)
    return 1.0 if number is None else float(number)


def _shown(number: float | None) -> str:
    return "–" if number is None else f"{number:.2f}"


if __name__ == "__main__":
    main()
