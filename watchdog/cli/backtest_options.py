"""The options of `watchdog backtest`. This module must stay light: every start of the command imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchdog.cli import completing

#: How far back without --from and --last.
LAST = "30d"

From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="TIME", help="From when on, such as 2026-10-01 or 2026-10-01T06:00:00Z, in UTC."
    ),
]
To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Until when. [default: now]")]
Last = Annotated[
    str | None,
    typer.Option("--last", metavar="DURATION", help=f"So long up to the end instead. [default: {LAST}]"),
]
Services = Annotated[
    list[str] | None,
    typer.Option(
        "--service",
        metavar="NAME",
        help="Only this service; may be given again. With --csv: whose series it is.",
        autocompletion=completing.services,
    ),
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule", metavar="NAME", help="Only this rule; may be given again.", autocompletion=completing.rules
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="PATH",
        help="Series (TimeStamp,Value[,Events][,Bad]) of one file, or of every *.csv below a folder, instead of "
        "what the source of the rule says.",
    ),
]
Step = Annotated[
    str | None,
    typer.Option("--step", metavar="DURATION", help="Poll so often. [default: the rule's interval]"),
]
DeploymentsFile = Annotated[
    Path | None,
    typer.Option(
        "--deployments",
        metavar="FILE",
        help="When what was deployed: CSV, JSON or YAML with service, version, variant, started_at[, ended_at]. "
        "[default: what the store knows]",
    ),
]
WindowAfter = Annotated[
    str | None,
    typer.Option(
        "--window-after",
        metavar="DURATION",
        help="So long after a deployment it can be rolled back. [default: the service's armed_for]",
    ),
]
MaxRollbacks = Annotated[
    int | None,
    typer.Option(
        "--max-rollbacks", min=0, metavar="NUMBER", help="A rule that asked for more fails (exit 1)."
    ),
]
MaxNoise = Annotated[
    float | None,
    typer.Option(
        "--max-noise", min=0, metavar="NUMBER", help="More incidents a week of a rule fail (exit 1)."
    ),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page with charts there; nothing else is needed."),
]
Keep = Annotated[
    Path | None,
    typer.Option(
        "--cache", metavar="DIR", help="Keep answers there. [default: in ~/.cache/rollback-watchdog]"
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Ask everything anew, and keep nothing.")]
Recorded = Annotated[
    bool,
    typer.Option("--record", help="Put the figures into the file of records by which rules are armed."),
]
