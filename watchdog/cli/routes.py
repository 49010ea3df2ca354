"""`watchdog routes …`: who would be told of what, and when, by the configuration alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchdog.cli import completing
from watchdog.cli.failure import Failure
from watchdog.cli.help import CONFIG, epilog
from watchdog.cli.options import ConfigFile, Json

if TYPE_CHECKING:
    from datetime import datetime

    from watchdog.config.loaded import Configuration
    from watchdog.config.routed import Routed
    from watchdog.core.routing import Gather

routes = typer.Typer(no_args_is_help=True, help="Say who would be told of what, and when.")


@routes.callback()
def _group() -> None:
    """Say who would be told of what, and when; tells nobody."""


@routes.command(
    name="test",
    epilog=epilog(
        f"watchdog routes test -c {CONFIG} service=trips",
        f"watchdog routes test -c {CONFIG} service=trips --severity low --at 2026-03-07T03:00:00Z",
        f"watchdog routes test -c {CONFIG} team=booking environment=production --json",
        done="a route takes it",
        codes={1: "no route takes it, or a label that nothing has"},
    ),
)
def ask(
    config: ConfigFile,
    labels: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LABEL=VALUE",
            help="What is known of it: service=NAME brings the service's labels and environment along.",
            show_default=False,
            autocompletion=completing.labels,
        ),
    ] = None,
    severity: Annotated[
        str | None,
        typer.Option(metavar="SEVERITY", help="low, medium, high or critical. [default: critical]"),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="When it begins, such as 2026-03-07T03:00:00Z, in UTC. [default: now]"
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Say which route takes something with these labels, and who would be told when if nobody did anything."""
    import os

    from watchdog.cli.output import say_json
    from watchdog.config.load import load
    from watchdog.config.routed import routed

    begins = _moment(at)
    configuration = load(config, environ=os.environ)
    found = routed(configuration, labels or [], severity=severity, at=begins)
    if found is None:
        raise Failure("no route takes it")
    if json:
        say_json(_plain(found))
    else:
        _show(found, configuration)


def _moment(text: str | None) -> datetime:
    from datetime import UTC, datetime

    if text is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Failure(f"{text!r} is not a time such as 2026-03-07T03:00:00Z") from None


def _show(found: Routed, configuration: Configuration) -> None:
    from watchdog.cli.output import say, table
    from watchdog.core.units import format_duration

    route, count = found.route, len(configuration.routes)
    takes = ", ".join(f"{name}={value}" for name, value in route.match.items()) or "everything"
    place = f" ({found.place.file}:{found.place.line})" if found.place is not None else ""
    say(f"Route {found.index + 1} of {count}{place} takes it: {takes}.")
    how = f"policy {route.policy.name}" if route.policy is not None else "all at once"
    say(f"{found.kind}, {found.severity}: {how}.")
    kinds = {name: one.kind for name, one in configuration.channels.items()}
    rows = [
        [
            _shown(one.at),
            format_duration(one.at - found.at),
            ", ".join(f"{name} ({kinds.get(name, '?')})" for name in one.channels) or "nobody",
            one.what,
        ]
        for one in found.told
    ]
    if rows:
        table(["WHEN", "AFTER", "WHO", "WHAT"], rows)
    else:
        say("Nobody is told.")
    for line in _beside(found):
        say(line)


def _beside(found: Routed) -> list[str]:
    """What holds it back, and what else the route says."""
    from watchdog.core.units import format_duration

    route, lines = found.route, list[str]()
    if found.mutes:
        names = ", ".join(window.name for window in found.mutes)
        until = f" until {_shown(found.muted_until)}" if found.muted_until is not None else ""
        held = f"Muted{until}" if found.muted_until is not None else "In force, and does not hold this back"
        lines.append(
            f"{held}: {names}. What is about rollbacks, limits, the store and channels is told at once."
        )
    if route.gather is not None and found.waits:
        by = ", ".join(route.gather.by) or "nothing: all in one"
        wait, interval = format_duration(route.gather.wait), format_duration(route.gather.interval)
        lines.append(
            f"Gathered by {by}: waits {wait} for others, and {interval} after the last of its group."
        )
    if route.notices:
        lines.append(f"Notices go to {', '.join(route.notices)}.")
    return lines


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _plain(found: Routed) -> dict[str, Any]:
    route, place = found.route, found.place
    return {
        "labels": {name: value for name, value in found.labels.items() if value},
        "severity": found.severity.value,
        "kind": found.kind.value,
        "at": _iso(found.at),
        "route": {
            "number": found.index + 1,
            "file": str(place.file) if place is not None else None,
            "line": place.line if place is not None else None,
            "match": route.match,
            "to": list(route.to),
            "escalation": route.policy.name if route.policy is not None else None,
            "notices": list(route.notices),
            "mute": [window.name for window in route.mutes],
        },
        "timeline": [
            {
                "at": _iso(one.at),
                "after_seconds": (one.at - found.at).total_seconds(),
                "channels": list(one.channels),
                "what": one.what,
            }
            for one in found.told
        ],
        "muted_by": [window.name for window in found.mutes],
        "muted_until": _iso(found.muted_until) if found.muted_until is not None else None,
        "gather": _gathers(route.gather) if route.gather is not None and found.waits else None,
    }


def _gathers(gather: Gather) -> dict[str, Any]:
    return {
        "by": list(gather.by),
        "wait_seconds": gather.wait.total_seconds(),
        "interval_seconds": gather.interval.total_seconds(),
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
