"""`watchdog gitops …`: let go on what was suspended for a rollback (`gitops: pause`)."""

from __future__ import annotations

import typer

from watchdog.cli.help import epilog
from watchdog.cli.link import Link, linked
from watchdog.cli.options import Reason, ServiceName

gitops = typer.Typer(
    no_args_is_help=True, help="Let Argo CD or Flux go on after a rollback that suspended them."
)


@gitops.callback()
def _group() -> None:
    """Let Argo CD or Flux go on after a rollback that suspended them (`gitops: pause`)."""


@gitops.command(
    epilog=epilog(
        'watchdog gitops resume trips --reason "v1.4.2 is reverted in Git"',
        done="resumed",
        codes={1: "not resumed, and why"},
    )
)
@linked
def resume(service: ServiceName, link: Link, reason: Reason = None) -> None:
    """Restore the automatic sync that a rollback suspended, exactly as it was.

    First see to it that Git no longer holds the version that was rolled back. Refused while a rollback is under way.
    """
    from watchdog.cli.output import note, say, say_json

    answer = link.post("services", service, "gitops", "resume", body={"reason": reason} if reason else {})
    if link.json:
        say_json(answer)
    elif "resumed" not in answer:
        say(f"{service}: asked; see `watchdog status {service}`")
    else:
        say(f"{answer['resumed']} goes on")
        note(answer["warning"])
