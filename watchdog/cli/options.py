"""Options that several commands share, so that they are called and explained the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchdog.cli import completing

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.", show_default=False)
]
MaybeConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Read the daemon's address and a token from this configuration.",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="The daemon's address; also WATCHDOG_URL. [default: http://127.0.0.1:9911]"
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN", help="A bearer token; better in WATCHDOG_TOKEN, which other users cannot see."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Why; goes into the record and the messages.")
]
Why = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; goes into the record and the messages.")
]
ServiceName = Annotated[
    str, typer.Argument(metavar="SERVICE", help="The service's name.", autocompletion=completing.services)
]
SomeService = Annotated[
    str | None,
    typer.Argument(
        metavar="[SERVICE]",
        help="The service's name.",
        show_default=False,
        autocompletion=completing.services,
    ),
]
OneService = Annotated[
    str | None,
    typer.Option("--service", metavar="NAME", help="Only this service.", autocompletion=completing.services),
]
IncidentId = Annotated[
    str,
    typer.Argument(metavar="INCIDENT", help="The incident's id.", autocompletion=completing.incidents),
]
Version = Annotated[
    str,
    typer.Argument(
        metavar="VERSION",
        help="The version, as it was announced or as the switch tells it.",
        autocompletion=completing.versions,
    ),
]
TargetVersion = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="VERSION",
        help="Where to; the last known good one when left out.",
        autocompletion=completing.versions,
    ),
]
