"""The report of a back-test as one HTML file: a table, and a chart of every check. Nothing is loaded, nothing runs.

Everything that came from elsewhere is escaped. This module must never count, and never write a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from html import escape

from watchdog import __version__
from watchdog.core.quantity import format_quantity
from watchdog.core.rule import BREACH_LEVELS, Unit
from watchdog.core.units import format_duration
from watchdog.lab.backtest import Checked
from watchdog.lab.report import Report
from watchdog.lab.report_chart import chart

#: Incidents that are listed below a chart; the figures count all.
_LISTED = 50
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #fff; --line: #d4d9e2; --soft: #f4f6f9; --dim: #5b6475; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --paper: #14181f; --line: #343b48; --soft: #1c222c; --dim: #9aa4b5; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 1020px; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; background: var(--soft); } td.number, th.number { text-align: right; }
.scroll { overflow-x: auto; } .dim, .tick { color: var(--dim); fill: var(--dim); }
.bad { color: #c0273a; font-weight: 600; } .good { color: #1d7d46; font-weight: 600; }
svg { width: 100%; height: auto; } .tick { font: 11px system-ui, sans-serif; }
.frame { fill: none; stroke: var(--line); } .values { fill: none; stroke: #3b6fd4; stroke-width: 1.1; }
.limit { stroke-dasharray: 5 4; } .limit.warning { stroke: #c98a00; } .limit.critical { stroke: #d4572a; }
.limit.rollback { stroke: #a3142b; } .deployed { stroke: #1d7d46; stroke-width: 1.5; }
.shade.warning { fill: #f2b632; opacity: .28; } .shade.critical { fill: #ee7a3a; opacity: .32; }
.shade.rollback { fill: #d8243f; opacity: .34; } .shade.blind { fill: #8a93a3; opacity: .3; }
.rolled { fill: #a3142b; }
"""


def html_of(report: Report) -> str:
    """The whole page."""
    ok = not report.beyond
    budget = _budget(report)
    told = "" if budget is None else f'<p class="{"good" if ok else "bad"}">{budget}</p>'
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Back-test of {len(report.checks)} checks</title><style>{_STYLE}</style></head><body>",
            "<h1>What these rules would have done</h1>",
            f'<p class="dim">{_introduced(report)}</p>',
            told,
            _listed(report.notes),
            _overview(report),
            *(_section(report, one) for one in report.checks),
            _unasked(report),
            "</body></html>",
            "",
        ]
    )


def _introduced(report: Report) -> str:
    made = f"Made {_when(report.made_at.timestamp())} UTC by Rollback Watchdog {escape(__version__)}."
    how = "Every sample was judged by the daemon's own evaluation; guards are left out"
    return f"{made} {how} but for the time in which a deployment is armed."


def _budget(report: Report) -> str | None:
    if report.budget.rollbacks is None and report.budget.noise is None:
        return None
    if not report.beyond:
        return "Within the budget."
    return f"{len(report.beyond)} of {len(report.checks)} beyond the budget."


def _overview(report: Report) -> str:
    columns = ["Service", "Rule"]
    numbers = [
        *(
            "Incidents",
            "a week",
            "Rollbacks",
            "near a deployment",
            "Longest blindness",
            "Plain alerts",
            "a week",
        )
    ]
    rows = [
        [
            f'<a href="#check-{index}">{escape(one.subject.service)}</a>',
            escape(one.subject.rule.name),
            *(
                escape(cell)
                for cell in (
                    str(len(one.incidents)),
                    f"{one.incidents_per_week:.2f}",
                    str(one.rollbacks),
                    "–" if one.near_deployments is None else str(one.near_deployments),
                    _lasted(one.longest_blindness),
                    "–" if one.plain is None else str(one.plain.alerts),
                    "–" if one.plain is None else f"{one.plain.alerts_per_week:.2f}",
                )
            ),
        ]
        for index, one in enumerate(report.checks)
    ]
    return _table([*columns, *numbers], rows, numbers_from=len(columns))


def _section(report: Report, one: Checked) -> str:
    index = report.checks.index(one)
    subject = one.subject
    beyond = report.beyond.get((subject.service, subject.rule.name), ())
    parts = [
        f'<h2 id="check-{index}">{escape(subject.rule.name)} on {escape(subject.service)}</h2>',
        f"<p>{escape(subject.rule.summary)}</p>" if subject.rule.summary else "",
        f'<p class="dim">{_spanned(one)}</p>',
        "".join(f'<p class="bad">{escape(words)}</p>' for words in beyond),
        chart(one),
        _figures(one),
        _incidents(one),
        _listed(one.notes),
    ]
    return "\n".join(part for part in parts if part)


def _spanned(one: Checked) -> str:
    every = format_duration(timedelta(seconds=one.step))
    return f"{_when(one.since)} to {_when(one.until)} UTC, every {escape(every)}."


def _figures(one: Checked) -> str:
    unit = _unit(one)
    rows = [[f"Began {level.value}", str(one.begun[level])] for level in BREACH_LEVELS]
    near = "deployments are not known" if one.near_deployments is None else f"{one.near_deployments} of them"
    rows += [
        ["Rollbacks while a deployment was armed", near],
        ["Longest blindness", _lasted(one.longest_blindness)],
        ["Evaluations with a verdict", f"{one.known} of {one.samples}"],
        ["Why", ", ".join(f"{reason} {count}" for reason, count in sorted(one.reasons.items()))],
    ]
    if one.missed:
        rows.append(["Polls without any sample", str(one.missed)])
    if one.values is not None:
        shown = {
            "least": one.values.min,
            "median": one.values.median,
            "p99": one.values.p99,
            "most": one.values.max,
        }
        rows.append(
            ["Values", ", ".join(f"{name} {format_quantity(value, unit)}" for name, value in shown.items())]
        )
    if one.plain is not None:
        limit = "150 % of critical" if one.plain.limit is None else format_quantity(one.plain.limit, unit)
        near = (
            "" if one.plain.near_deployments is None else f", {one.plain.near_deployments} near a deployment"
        )
        alerts = f"{one.plain.alerts} alerts, {one.plain.alerts_per_week:.2f} a week{near}"
        rows.append([f"An alert on one sample beyond {limit}", alerts])
    return _table(["", ""], [[escape(name), escape(told)] for name, told in rows], head=False)


def _incidents(one: Checked) -> str:
    if not one.incidents:
        return "<p>No incident.</p>"
    rows = [
        [
            _when(incident.began),
            _lasted((one.until if incident.ended is None else incident.ended) - incident.began)
            + ("" if incident.ended is not None else " (to the end)"),
            escape(incident.level.value),
            escape(format_quantity(incident.peak, _unit(one))),
            "" if incident.rolled_back is None else _when(incident.rolled_back) + _armed(incident.armed),
            escape(incident.version),
        ]
        for incident in one.incidents[:_LISTED]
    ]
    more = len(one.incidents) - len(rows)
    table = _table(["Began (UTC)", "Lasted", "Level", "Worst value", "Would roll back", "Version"], rows)
    return table + (f'<p class="dim">… and {more} more.</p>' if more > 0 else "")


def _armed(armed: bool | None) -> str:  # noqa: FBT001 - the only argument
    return "" if armed is None else " (armed)" if armed else " (no deployment was armed)"


def _unasked(report: Report) -> str:
    if not report.unasked:
        return ""
    rows = [[escape(one.service), escape(one.rule), escape(one.reason)] for one in report.unasked]
    return "<h2>Not back-tested</h2>" + _table(["Service", "Rule", "Why"], rows)


def _listed(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="dim">{items}</ul>' if items else ""


def _table(
    columns: list[str], rows: list[list[str]], *, numbers_from: int | None = None, head: bool = True
) -> str:
    """Cells are HTML already."""

    def cell(tag: str, index: int, content: str) -> str:
        number = numbers_from is not None and index >= numbers_from
        kind = ' class="number"' if number else ""
        return f"<{tag}{kind}>{content}</{tag}>"

    lines = ["".join(cell("td", index, content) for index, content in enumerate(row)) for row in rows]
    header = "".join(cell("th", index, escape(name)) for index, name in enumerate(columns))
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    shown = f"<thead><tr>{header}</tr></thead>" if head else ""
    return f'<div class="scroll"><table>{shown}<tbody>\n{body}\n</tbody></table></div>'


def _unit(one: Checked) -> Unit:
    return one.subject.rule.unit if one.subject.rule.slo is None else Unit.TIMES


def _lasted(seconds: float) -> str:
    return format_duration(timedelta(seconds=round(seconds))) if seconds else "–"


def _when(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
