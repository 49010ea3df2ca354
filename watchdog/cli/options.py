"""Options that several commands share, so that they are called and explained the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
