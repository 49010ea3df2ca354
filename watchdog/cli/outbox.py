"""`watchdog outbox`: what is on its way to people, what was sent, and what was given up, with why."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from watchdog.cli import completing
from watchdog.cli.failure import PoliteGroup
from watchdog.cli.help import epilog
from watchdog.cli.link import Link, linked
from watchdog.cli.options import Reason

outbox = typer.Typer(cls=PoliteGroup, pretty_exceptions_enable=False, rich_markup_mode=None)


class State(StrEnum):
    """Where a message is."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"


@outbox.callback(invoke_without_command=True)
@linked
def list_messages(
    ctx: typer.Context,
    link: Link,
    state: Annotated[
        State | None,
        typer.Option(help="Only those that wait, were sent, or were given up.", show_default=False),
    ] = None,
    channel: Annotated[str | None, typer.Option(metavar="NAME", help="Only this channel.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many, the newest.")] = 50,
) -> None:
    """List messages that were stored last, or have one tried again that was given up."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = link  # what stands before the subcommand holds for it, too
        return
    from watchdog.cli.output import say, say_json, table

    wanted = {"state": state.value if state else None, "channel": channel, "limit": str(limit)}
    page = link.get("outbox", **{name: value for name, value in wanted.items() if value})
    if link.json:
        say_json(page)
        return
    if not page["items"]:
        say("no messages")
        return
    rows = [
        [
            one["state"],
            one["channel"],
            _moment(one["created_at"]),
            str(one["attempts"]),
            one["severity"],
            one["headline"],
            _remark(one),
            one["id"],
        ]
        for one in page["items"]
    ]
    table(["STATE", "CHANNEL", "MADE", "TRIED", "SEVERITY", "MESSAGE", "REMARK", "KEY"], rows)
    if page["next"]:
        say("")
        say(f"there are more than {limit}; see --limit, --state and --channel")


@outbox.command(epilog=epilog("watchdog outbox retry KEY", done="to be tried again"))
@linked
def retry(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="The message's key, as `watchdog outbox --state dead` shows it.",
            autocompletion=completing.dead_messages,
        ),
    ],
    link: Link,
    reason: Reason = None,
) -> None:
    """Try a message again that was given up, once the channel is put right."""
    from watchdog.cli.output import say, say_json

    again = link.post("outbox", key, "retry", body={"reason": reason} if reason else {})
    say_json(again) if link.json else say(f"{key} is tried again")


def _remark(one: dict[str, Any]) -> str:
    """Why it is not there, or when it was."""
    if one["state"] == "sent":
        return f"sent {_moment(one['sent_at'])}" if one["sent_at"] else "sent"
    if one["state"] == "dead":
        return one["last_error"] or "given up"
    waits = f"next {_moment(one['due_at'])}"
    return f"{waits}: {one['last_error']}" if one["last_error"] else waits


def _moment(written: str) -> str:
    """A time of the API to the second."""
    head, point, _ = written.partition(".")
    return f"{head}Z" if point else head
