"""`watchdog deploy`: records a deployment, and with --wait makes it a gate for a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchdog.cli import completing
from watchdog.cli.failure import Failure
from watchdog.cli.link import Link, linked
from watchdog.cli.options import ServiceName

if TYPE_CHECKING:
    from datetime import timedelta

#: Exit codes of a gate, by how the deployment ended; normative (design §8).
STABLE, ROLLED_BACK, UNDECIDED = 0, 3, 4
_ENDS = {"stable": STABLE, "rolled_back": ROLLED_BACK, "superseded": UNDECIDED, "failed": UNDECIDED}


@linked
def deploy(
    service: ServiceName,
    version: Annotated[str, typer.Option(metavar="V", help="What was deployed: a tag, a digest, a commit.")],
    variant: Annotated[
        str,
        typer.Option(
            metavar="X",
            help="Where it lives, as the traffic switch names it.",
            autocompletion=completing.variants,
        ),
    ],
    link: Link,
    started_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it began (RFC 3339); now when left out.")
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="TEXT", help="What deployed it.")] = None,
    url_link: Annotated[str | None, typer.Option(metavar="URL", help="Where to read more about it.")] = None,
    rollback: Annotated[
        str, typer.Option(metavar="allowed|forbidden", help="forbidden: never rolled back from, nor to.")
    ] = "allowed",
    label: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="A label for routes and messages; repeatable.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is stable or rolled back.")] = False,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Longest wait. [default: soak + 10m]", show_default=False),
    ] = None,
    every: Annotated[str, typer.Option(metavar="DURATION", help="How often --wait looks.")] = "2s",
) -> None:
    """Record a deployment. With --wait: exit 0 when it is stable, 3 when rolled back, 4 when undecided.

    Say it before traffic moves: then it is watched from the moment at which traffic arrives. What nobody announces is
    seen, too, but under its variant's name where the switch tells no versions.
    """
    from watchdog.cli.daemon import talk
    from watchdog.cli.gate import record as record_deployment
    from watchdog.cli.gate import wait_for_end
    from watchdog.cli.output import note, say, say_json

    limit = _duration("--timeout", timeout) if timeout else None
    pause = _duration("--every", every)
    body: dict[str, Any] = {"service": service, "version": version, "variant": variant, "rollback": rollback}
    given = {"started_at": started_at, "source": source, "url": url_link, "labels": _labels(label or [])}
    body |= {name: value for name, value in given.items() if value}
    where = link.where
    record = talk(record_deployment(where, body))
    line = f"{record['id']}: {service} {record['version']} on {record['variant']} is {record['state']}"
    if not wait:
        say_json(record) if link.json else say(line)
        return

    async def follow() -> dict[str, Any]:
        note(line)  # said in here, where Ctrl-C is already a clean end
        return await wait_for_end(where, record, limit=limit, every=pause)

    record = talk(follow())
    say_json(record) if link.json else say(f"{record['id']} {record['state']}" + _reason(record))
    raise typer.Exit(_ENDS.get(record["state"], UNDECIDED))


def _duration(option: str, text: str) -> timedelta:
    from watchdog.core.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise Failure(f"{option}: {error}", code=2) from None


def _labels(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise Failure(f"--label {pair!r} is not NAME=VALUE", code=2)
        found[name] = value
    return found


def _reason(record: dict[str, Any]) -> str:
    return f": {record['reason']}" if record["reason"] else ""
