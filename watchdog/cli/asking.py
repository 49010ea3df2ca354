"""Commands that ask a running daemon for something: `rollback`, `ack`, `approve`, `reject`, `pause`, `resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchdog.cli.failure import Failure
from watchdog.cli.options import Json, MaybeConfigFile, Reason, Token, Url

if TYPE_CHECKING:
    from watchdog.cli.daemon import Address

ServiceName = Annotated[str, typer.Argument(metavar="SERVICE", help="The service's name.")]
SomeService = Annotated[
    str | None, typer.Argument(metavar="[SERVICE]", help="The service's name.", show_default=False)
]
IncidentId = Annotated[str, typer.Argument(metavar="INCIDENT", help="The incident's id.")]
All = Annotated[bool, typer.Option("--all", help="Every service.")]

_DONE = {
    "acknowledge": "acknowledged",
    "approve": "approved",
    "reject": "rejected",
    "close": "closed",
    "pause": "paused",
    "resume": "resumed",
}


def rollback(
    service: ServiceName,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; goes into the record and the messages.")],
    to: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Where to; the last known good one when left out.")
    ] = None,
    url: Url = None,
    token: Token = None,
    config: MaybeConfigFile = None,
    json: Json = False,
) -> None:
    """Move a service's traffic back now. Guards that protect from people's mistakes still apply."""
    from watchdog.cli.daemon import address, talk
    from watchdog.cli.output import say, say_json

    body = {"reason": reason, **({"to": to} if to else {})}
    made = talk(_post(address(url, token, config), "services", service, "rollback", body=body))
    if json:
        say_json(made)
        return
    if set(made) == {"id"}:
        say(f"rollback {made['id']} of {service} is under way; see `watchdog explain {made['id']}`")
        return
    old, new = made["from"], made["to"]
    say(
        f"rollback {made['id']} {made['state']}: {service} {old['version']} ({old['variant']}) → "
        f"{new['version']} ({new['variant']})"
    )


def ack(
    incident: IncidentId,
    reason: Reason = None,
    url: Url = None,
    token: Token = None,
    config: MaybeConfigFile = None,
    json: Json = False,
) -> None:
    """Say that you look after an incident."""
    from watchdog.cli.daemon import address

    about_incident(address(url, token, config), incident, "acknowledge", reason, as_json=json)


def approve(
    incident: IncidentId,
    reason: Reason = None,
    url: Url = None,
    token: Token = None,
    config: MaybeConfigFile = None,
    json: Json = False,
) -> None:
    """Allow the rollback that waits for approval."""
    from watchdog.cli.daemon import address

    about_incident(address(url, token, config), incident, "approve", reason, as_json=json)


def reject(
    incident: IncidentId,
    reason: Reason = None,
    url: Url = None,
    token: Token = None,
    config: MaybeConfigFile = None,
    json: Json = False,
) -> None:
    """Refuse the rollback that waits for approval."""
    from watchdog.cli.daemon import address

    about_incident(address(url, token, config), incident, "reject", reason, as_json=json)


def pause(
    service: SomeService = None,
    everything: All = False,
    reason: Reason = None,
    url: Url = None,
    token: Token = None,
    config: MaybeConfigFile = None,
    json: Json = False,
) -> None:
    """Stop the automation: keep watching and telling, switch nothing."""
    _about_services(service, everything, "pause", reason, (url, token, config), as_json=json)


def resume(
    service: SomeService = None,
    everything: All = False,
    reason: Reason = None,
    url: Url = None,
    token: Token = None,
    config: MaybeConfigFile = None,
    json: Json = False,
) -> None:
    """Let the automation act again."""
    _about_services(service, everything, "resume", reason, (url, token, config), as_json=json)


def about_incident(where: Address, incident: str, what: str, reason: str | None, *, as_json: bool) -> None:
    """Ask for one thing about an incident and say that it was done, or what the daemon answered."""
    from watchdog.cli.daemon import talk
    from watchdog.cli.output import say, say_json

    answer = talk(_post(where, "incidents", incident, what, body=_because(reason)))
    say_json(answer) if as_json else say(f"{incident} {_DONE[what]}")


def _about_services(
    service: str | None,
    everything: bool,
    what: str,
    reason: str | None,
    daemon: tuple[Any, Any, Any],
    *,
    as_json: bool,
) -> None:
    from watchdog.cli.daemon import address, talk
    from watchdog.cli.output import note, say, say_json

    if (service is None) is not everything:
        raise Failure(f"name one service, or --all: watchdog {what} SERVICE", code=2)
    where = address(*daemon)
    names = [service] if service else [one["name"] for one in talk(_services(where))]
    answers = []
    for name in names:
        try:
            answers.append(talk(_post(where, "services", name, what, body=_because(reason))))
        except Failure as failure:
            if not everything:
                raise
            note(f"{name}: {failure}")
        else:
            if not as_json:
                say(f"{name} {_DONE[what]}")
    if as_json:
        say_json(answers if everything else answers[0])
    if failed := len(names) - len(answers):
        raise Failure(f"{failed} of {len(names)} services not {_DONE[what]}")


def _because(reason: str | None) -> dict[str, str]:
    return {"reason": reason} if reason else {}


async def _post(where: Address, *path: str, body: dict[str, Any]) -> Any:
    from watchdog.cli.daemon import Daemon

    async with Daemon(where) as daemon:
        return await daemon.post(*path, body=body)


async def _services(where: Address) -> list[Any]:
    from watchdog.cli.daemon import Daemon

    async with Daemon(where) as daemon:
        return await daemon.every("services")
