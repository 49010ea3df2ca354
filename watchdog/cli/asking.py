"""Commands that ask a running daemon for something about a service or an incident."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from watchdog.cli.failure import Failure
from watchdog.cli.link import Link, linked
from watchdog.cli.options import IncidentId, Reason, ServiceName, SomeService, TargetVersion, Version, Why
from watchdog.cli.silences import seconds

_DONE = {
    "acknowledge": "acknowledged",
    "unacknowledge": "not acknowledged any more",
    "approve": "approved",
    "reject": "rejected",
    "close": "closed",
    "pause": "paused",
    "resume": "resumed",
}
AckFor = Annotated[
    str | None,
    typer.Option(
        "--for", metavar="DURATION", help="For how long, such as 4h; at most 30d.", show_default=False
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every service.")]


@linked
def rollback(service: ServiceName, reason: Why, link: Link, to: TargetVersion = None) -> None:
    """Move a service's traffic back now.

    Guards that protect from people's mistakes still apply: there must be a known good version with enough ready
    capacity, and no kill switch. Those that only protect from automation do not.
    """
    from watchdog.cli.output import say, say_json

    made = link.post("services", service, "rollback", body={"reason": reason, **({"to": to} if to else {})})
    if link.json:
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


@linked
def ack(incident: IncidentId, link: Link, lasts: AckFor = None, reason: Reason = None) -> None:
    """Say that you look after an incident. Nobody else is told while you do.

    For as long as its escalation policy says (8h) or as you do; then its ladder begins again, at the first step.
    Acknowledge it again to keep it for longer.
    """
    body = {"for_seconds": seconds(lasts)} if lasts else {}
    about_incident(link, incident, "acknowledge", reason, **body)


@linked
def unack(incident: IncidentId, reason: Why, link: Link) -> None:
    """Say that nobody looks after an incident any more. Whoever heard of it is told, and its ladder begins again."""
    about_incident(link, incident, "unacknowledge", reason)


@linked
def approve(incident: IncidentId, link: Link, reason: Reason = None) -> None:
    """Allow the rollback that waits for approval.

    A service in mode `approve` asks for it; the request ends after `approve_within`. The guards are asked once more.
    """
    about_incident(link, incident, "approve", reason)


@linked
def reject(incident: IncidentId, link: Link, reason: Reason = None) -> None:
    """Refuse the rollback that waits for approval. It is not asked for again for this deployment."""
    about_incident(link, incident, "reject", reason)


@linked
def pause(link: Link, service: SomeService = None, everything: All = False, reason: Reason = None) -> None:
    """Stop the automation: keep watching and telling, switch nothing.

    Holds until `watchdog resume`, over restarts, for rollbacks that people ask for, too.
    """
    _about_services(link, service, everything, "pause", reason)


@linked
def resume(link: Link, service: SomeService = None, everything: All = False, reason: Reason = None) -> None:
    """Let the automation act again."""
    _about_services(link, service, everything, "resume", reason)


@linked
def taint(service: ServiceName, version: Version, reason: Why, link: Link) -> None:
    """Never roll back to this version.

    Versions that were rolled back are tainted already. The live version may be tainted, too: it is no target later.
    """
    _about_version(link, service, version, "taint", reason)


@linked
def untaint(service: ServiceName, version: Version, reason: Why, link: Link) -> None:
    """Let a version be a rollback target again.

    It still must be known good: healthy for a whole `soak`, or `watchdog mark-good`.
    """
    _about_version(link, service, version, "untaint", reason)


@linked
def mark_good(service: ServiceName, version: Version, reason: Why, link: Link) -> None:
    """Say that a version is good: a rollback target from now on.

    It is stable at once and no longer tainted. It must have taken traffic, and a variant must still carry it.
    `rollback: forbidden` stays.
    """
    _about_version(link, service, version, "mark-good", reason)


def about_incident(link: Link, incident: str, what: str, reason: str | None, **body: float) -> None:
    """Ask for one thing about an incident and say that it was done, or what the daemon answered."""
    from watchdog.cli.output import say, say_json

    answer = link.post("incidents", incident, what, body={**_because(reason), **body})
    until = _until(answer) if what == "acknowledge" else ""
    say_json(answer) if link.json else say(f"{incident} {_DONE[what]}{until}")


def _until(answer: dict[str, Any]) -> str:
    until = (answer.get("climb") or {}).get("acknowledged_until")
    return f" until {until}" if until else ""


def _about_version(link: Link, service: str, version: str, what: str, reason: str) -> None:
    from watchdog.cli.output import say, say_json

    answer = link.post("services", service, what, body={"version": version, "reason": reason})
    if link.json:
        say_json(answer)
        return
    taint = answer["taint"]
    told = [f"tainted by {taint['by']}: {taint['reason']}" if taint else "not tainted"]
    told += [f"{state} on {variant}" for variant, state in answer["states"].items()]
    say(f"{service} {answer['version']}: {', '.join(told)}")


def _about_services(link: Link, service: str | None, everything: bool, what: str, reason: str | None) -> None:
    from watchdog.cli.output import note, say, say_json

    if (service is None) is not everything:
        raise Failure(f"name one service, or --all: watchdog {what} SERVICE", code=2)
    names = [service] if service else [one["name"] for one in link.every("services")]
    answers: list[Any] = []
    for name in names:
        try:
            answers.append(link.post("services", name, what, body=_because(reason)))
        except Failure as failure:
            if not everything:
                raise
            note(f"{name}: {failure}")
        else:
            if not link.json:
                say(f"{name} {_DONE[what]}")
    if link.json:
        say_json(answers if everything else answers[0])
    if failed := len(names) - len(answers):
        raise Failure(f"{failed} of {len(names)} services not {_DONE[what]}")


def _because(reason: str | None) -> dict[str, str]:
    return {"reason": reason} if reason else {}
