"""`watchdog silence` and `silences`: what nobody needs to hear of for a while. Rollbacks are told all the same."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from watchdog.cli import completing
from watchdog.cli.failure import Failure, PoliteGroup
from watchdog.cli.help import epilog
from watchdog.cli.link import Link, linked
from watchdog.cli.options import OneService, Reason, Why

silences = typer.Typer(cls=PoliteGroup, pretty_exceptions_enable=False, rich_markup_mode=None)


@linked
def silence(
    link: Link,
    reason: Why,
    service: OneService = None,
    rule: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this rule.", autocompletion=completing.rules),
    ] = None,
    environment: Annotated[str | None, typer.Option(metavar="NAME", help="Only this environment.")] = None,
    severity: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="Only this severity: low, medium, high, critical.")
    ] = None,
    match: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K=V",
            help="What else must match: version, incident, source or label.NAME; repeatable.",
        ),
    ] = None,
    lasts: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="How long, such as 2h; at most 30d.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Until when (RFC 3339), instead of --for.")
    ] = None,
) -> None:
    """Hold back what is told of incidents, for a while.

    Everything that is given must match. Nothing else changes: checks are judged, incidents recorded, rollbacks made
    and told. What is still wrong when the silence ends is told then.
    """
    from watchdog.cli.output import say, say_json

    given = {"service": service, "rule": rule, "environment": environment, "severity": severity}
    matchers = {name: value for name, value in given.items() if value} | _pairs(match or [])
    if not matchers:
        raise Failure(
            "say what is to be silent: --service, --rule, --environment, --severity or --match", code=2
        )
    if (lasts is None) is (until is None):
        raise Failure("say how long: --for DURATION or --until TIME", code=2)
    end = {"for_seconds": seconds(lasts)} if lasts is not None else {"ends_at": until}
    made = link.post("silences", body={"matchers": matchers, "reason": reason, **end})
    if link.json:
        say_json(made)
    else:
        end_at = f" until {_moment(made['ends_at'])}" if "ends_at" in made else ""
        say(f"{made['id']}: {_written(matchers)} is silent{end_at}")


@silences.callback(invoke_without_command=True)
@linked
def list_silences(
    ctx: typer.Context,
    link: Link,
    everything: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
) -> None:
    """List silences in force, or end one early."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = link  # what stands before the subcommand holds for it, too
        return
    from watchdog.cli.output import say, say_json, table

    found = link.every("silences", **({} if everything else {"active": "true"}))
    if link.json:
        say_json({"items": found, "next": None})
        return
    if not found:
        say("no silences" if everything else "no silences in force")
        return
    rows = [
        [
            one["id"],
            "in force" if one["active"] else "over",
            _moment(one["ended_at"] or one["ends_at"]),
            str(one["held_back"]),
            one["by"],
            _written(one["matchers"]),
            one["reason"],
        ]
        for one in found
    ]
    table(["ID", "STATE", "UNTIL", "HELD BACK", "BY", "WHAT", "WHY"], rows)


@silences.command(epilog=epilog("watchdog silences expire sil-1f3a", done="ended"))
@linked
def expire(
    silence: Annotated[
        str, typer.Argument(metavar="SILENCE", help="The silence's id.", autocompletion=completing.silences)
    ],
    link: Link,
    reason: Reason = None,
) -> None:
    """End a silence early. What is still wrong is told within moments."""
    from watchdog.cli.output import say, say_json

    ended = link.post("silences", silence, "expire", body={"reason": reason} if reason else {})
    say_json(ended) if link.json else say(f"{silence} is over")


def _pairs(written: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in written:
        name, separator, value = pair.partition("=")
        if not separator or not name or not value:
            raise Failure(f"--match {pair!r} is not NAME=VALUE", code=2)
        found[name] = value
    return found


def seconds(text: str) -> float:
    """What `--for` says, in seconds. Raises `Failure` for what is no duration."""
    from watchdog.core.units import parse_duration

    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise Failure(f"--for: {error}", code=2) from None


def _moment(written: str) -> str:
    """A time of the API to the second."""
    head, point, _ = written.partition(".")
    return f"{head}Z" if point else head


def _written(matchers: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in matchers.items())
