"""Commands that look at a running daemon: `status`, `incidents`. They change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from watchdog.cli import completing
from watchdog.cli.asking import about_incident
from watchdog.cli.failure import Failure, PoliteGroup
from watchdog.cli.help import epilog
from watchdog.cli.ladders import told
from watchdog.cli.link import Link, linked
from watchdog.cli.options import IncidentId, OneService, Reason

if TYPE_CHECKING:
    from watchdog.cli.daemon import Daemon

LIMIT = 20


class IncidentsGroup(PoliteGroup):
    """Lets `watchdog incidents ID` stand for `watchdog incidents show ID`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["show", *args]
        return TyperGroup.resolve_command(self, ctx, args)


incidents = typer.Typer(cls=IncidentsGroup, pretty_exceptions_enable=False, rich_markup_mode=None)


@linked
def status(
    link: Link,
    service: Annotated[
        str | None,
        typer.Argument(
            metavar="[SERVICE]",
            help="Only this service, with its checks.",
            show_default=False,
            autocompletion=completing.services,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it until Ctrl-C.")] = False,
    interval: Annotated[str, typer.Option(metavar="DURATION", help="How often --watch looks.")] = "2s",
) -> None:
    """Show every service now, and what is wrong with it.

    CAN ROLL BACK answers "would a rollback work now?"; when it would not, the remark says why. With --watch, a
    terminal shows it live; anywhere else, it is printed whenever something has changed.
    """
    from watchdog.cli.daemon import talk
    from watchdog.cli.output import say_json

    if watch:
        if link.json:
            raise Failure("--watch shows a picture; for programs there is GET /api/v1/events", code=2)
        from watchdog.cli.watching import watch as keep_watching

        keep_watching(link.where, service, interval)
    elif service is None:
        seen = talk(_overview(link))
        say_json(seen) if link.json else _show_overview(seen)
    else:
        one = link.get("services", service)
        say_json(one) if link.json else _show_service(one)


@incidents.callback(invoke_without_command=True)
@linked
def list_incidents(
    ctx: typer.Context,
    link: Link,
    service: OneService = None,
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many, newest first.")] = LIMIT,
) -> None:
    """List open incidents, show one, or close one.

    `watchdog incidents ID` shows the incident with that id.
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = link  # what stands before the subcommand holds for it, too
        return
    from watchdog.cli.output import ago, say, say_json, table

    query = {"limit": str(limit), **({} if everything else {"open": "true"})}
    if service is not None:
        query["service"] = service
    page = link.get("incidents", **query)
    if link.json:
        say_json(page)
        return
    if not page["items"]:
        say("no incidents" if everything else "no open incidents")
        return
    rows = [
        [
            one["id"],
            one["state"],
            one["severity"],
            one["subject"],
            one["version"],
            ago(one["opened_at"]),
            one["summary"],
        ]
        for one in page["items"]
    ]
    table(["ID", "STATE", "SEVERITY", "SUBJECT", "VERSION", "OPENED", "SUMMARY"], rows)
    if page["next"]:
        say(f"more than {limit}: see --limit and --service")


@incidents.command(epilog=epilog("watchdog incidents show inc-1f3a", "watchdog incidents inc-1f3a --json"))
@linked
def show(incident: IncidentId, link: Link) -> None:
    """Show one incident with its breached rules and its rollbacks."""
    from watchdog.cli.daemon import talk
    from watchdog.cli.output import say_json

    one = talk(_incident(link, incident))
    say_json(one) if link.json else _show_incident(one)


@incidents.command(
    epilog=epilog('watchdog incidents close inc-1f3a --reason "false alarm: load test"', done="closed")
)
@linked
def close(incident: IncidentId, link: Link, reason: Reason = None) -> None:
    """Close an incident by hand.

    What is still wrong is told again once it has lasted as long as the first time.
    """
    about_incident(link, incident, "close", reason)


async def _incident(link: Link, name: str) -> Any:
    """An incident with the rollbacks it led to, newest first."""
    from watchdog.cli.daemon import Daemon

    async with Daemon(link.where) as daemon:
        one = await daemon.get("incidents", name)
        service = one["service"]
        known = await daemon.every("rollbacks", service=service) if service else []
    return {**one, "rollbacks": [rollback for rollback in known if rollback["incident"] == one["id"]]}


async def _overview(link: Link) -> dict[str, Any]:
    from watchdog.cli.daemon import Daemon

    async with Daemon(link.where) as daemon:
        return await gather(daemon)


async def gather(daemon: Daemon) -> dict[str, Any]:
    """Everything that the overview shows."""
    return {
        "daemon": await daemon.get("status"),
        "services": await daemon.every("services"),
        "incidents": await daemon.every("incidents", open="true"),
    }


def _show_overview(seen: dict[str, Any]) -> None:
    from watchdog.cli.output import ago, say, table

    rows = [
        [
            one["name"],
            one["environment"],
            one["mode"],
            one["level"],
            _deployed(one["deployment"]),
            "yes" if one["rollback_ready"] else "no",
            _remarks(one),
        ]
        for one in seen["services"]
    ]
    table(["SERVICE", "ENVIRONMENT", "MODE", "LEVEL", "VERSION", "CAN ROLL BACK", "REMARKS"], rows)
    for line in alarms(seen["daemon"]):
        say(line)
    if not seen["incidents"]:
        say("no open incidents")
        return
    say(f"{len(seen['incidents'])} open:")
    for incident in seen["incidents"]:
        silent = "  (silenced)" if incident["silenced_by"] else ""
        say(
            f"- {incident['id']}  {incident['severity']}  {ago(incident['opened_at'])}  "
            f"{incident['summary']}{silent}"
        )


def alarms(daemon: dict[str, Any]) -> list[str]:
    """What concerns all services: nothing is switched, or a source is down."""
    found = []
    if daemon["paused_by_file"]:
        found.append("PAUSED by the pause file: nothing is switched")
    if daemon["breaker"]:
        found.append(f"BREAKER open, no automatic rollback: {daemon['breaker']}")
    if since := daemon.get("cut_off_at"):
        found.append(f"CUT OFF since {since}: nothing answers, so no target is called dead")
    if daemon["store_error"]:
        found.append(f"STORE failed, nothing is switched: {daemon['store_error']}")
    if daemon.get("config_fault"):
        found.append(f"CONFIGURATION refused, the one before is in force: {daemon['config_fault']}")
    found += [f"LATE: {one['detail']}" for one in daemon.get("late", ())]
    beat = daemon.get("heartbeat")
    if beat and beat["withheld"]:
        found.append("HEARTBEAT withheld while that is so")
    elif beat and beat["error"]:
        found.append(f"HEARTBEAT not taken: {beat['error']}")
    if not daemon["leader"]:
        holder = daemon.get("holder", "")
        found.append(
            f"this watchdog follows; {holder} acts" if holder else "this watchdog follows; NOBODY leads"
        )
    if daemon["silences"]:
        found.append(f"silences in force: {daemon['silences']}; see `watchdog silences`")
    found += [
        f"source {one['name']} is down: {one['error']}" for one in daemon["sources"] if one["up"] is False
    ]
    return found


def _deployed(deployment: dict[str, Any] | None) -> str:
    return f"{deployment['version']} ({deployment['state']})" if deployment else "-"


def _remarks(service: dict[str, Any]) -> str:
    found = []
    if service["paused"]:
        why = f": {service['paused']['reason']}" if service["paused"]["reason"] else ""
        found.append(f"paused by {service['paused']['by']}{why}")
    if service["traffic"] and service["traffic"].get("paused"):
        found.append(f"paused by a mark on the target: {service['traffic']['paused']}")
    if service["traffic"] and service["traffic"].get("suspended"):
        found.append(f"suspended by us: {service['traffic']['suspended']}")
    if service["rollback"]:
        found.append(f"rollback {service['rollback']['id']} {service['rollback']['state']}")
    if service["traffic_error"]:
        found.append(f"switch: {service['traffic_error']}")
    # That it is paused, or cannot be read, was said already.
    said = service["traffic_error"] or None
    vetoes = [veto["detail"] for veto in service["not_ready"] if veto["guard"] != "paused"]
    found += [detail for detail in vetoes if said is None or not detail.endswith(said)][:1]
    return "; ".join(found)


def _show_service(one: dict[str, Any]) -> None:
    from watchdog.cli.output import ago, say, table

    say(f"{one['name']} in {one['environment']}: {one['level']}, mode {one['mode']}")
    say(f"now:      {_deployed(one['deployment'])}" + _since(one["deployment"]))
    say(f"stable:   {_deployed(one['stable'])}")
    ready = (
        "yes" if one["rollback_ready"] else "no: " + "; ".join(veto["detail"] for veto in one["not_ready"])
    )
    say(f"rollback: {ready}")
    if remarks := _remarks({**one, "not_ready": []}):
        say(f"remarks:  {remarks}")
    if one["traffic"]:
        rows = [
            [name, str(variant["weight"]), variant["version"] or "-", _capacity(variant), variant["note"]]
            for name, variant in sorted(one["traffic"]["variants"].items())
        ]
        for line in one["traffic"].get("noted", ()):
            say(f"also:     {line}")
        say("")
        table(["VARIANT", "WEIGHT", "VERSION", "READY", "NOTE"], rows)
    rows = [
        [
            check["id"],
            check["level"],
            check["reason"] or "-",
            _number(check["value"]),
            ago(check["last_data_at"]),
        ]
        for check in one["checks"]
    ]
    if rows:
        say("")
        table(["CHECK", "LEVEL", "REASON", "VALUE", "DATA"], rows)


def _since(deployment: dict[str, Any] | None) -> str:
    from watchdog.cli.output import ago

    return f", started {ago(deployment['started_at'])}, id {deployment['id']}" if deployment else ""


def _capacity(variant: dict[str, Any]) -> str:
    if variant["ready"] is None:
        return "unknown"
    return f"{variant['ready']}/{variant['total']}" if variant["total"] is not None else str(variant["ready"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _show_incident(one: dict[str, Any]) -> None:
    from watchdog.cli.output import ago, say, table

    say(f"{one['id']}  {one['state']}, {one['severity']}: {one['summary']}")
    facts = [
        ("about", f"{one['kind']} of {one['subject']} {one['version']}".rstrip()),
        ("opened", f"{one['opened_at']} ({ago(one['opened_at'])})"),
        ("deployment", one["deployment"] or ""),
        (
            "acknowledged",
            f"{one['acknowledged_at']} by {one['acknowledged_by']}" if one["acknowledged_at"] else "",
        ),
        *told(one),
        ("closed", f"{one['closed_at']}: {one['closed_because']}" if one["closed_at"] else ""),
        ("services", ", ".join(one["services"])),
        ("silenced", _silenced(one)),
    ]
    for name, value in facts:
        if value:
            say(f"{name + ':':14}{value}")
    if one["breaches"]:
        rows = [
            [
                breach["check"],
                breach["level"],
                _number(breach["value"]),
                breach["since"],
                _end(breach),
                breach["runbook"] or "",
            ]
            for breach in one["breaches"]
        ]
        say("")
        table(["CHECK", "LEVEL", "VALUE", "SINCE", "NOW", "RUNBOOK"], rows)

    if one["rollbacks"]:
        rows = [
            [
                rollback["id"],
                rollback["state"],
                _place(rollback["from"]),
                _place(rollback["to"]),
                rollback["applied_at"] or ("no" if rollback["over"] else "not yet"),
                rollback["traffic_proof"] or "-",
            ]
            for rollback in one["rollbacks"]
        ]
        say("")
        table(["ROLLBACK", "STATE", "FROM", "TO", "SWITCHED", "PROOF"], rows)


def _silenced(one: dict[str, Any]) -> str:
    count = one["silenced_messages"]
    by = f" by {', '.join(one['silenced_by'])}" if one["silenced_by"] else ""
    return f"{count} message{'s'[: count != 1]} held back{by}" if count else ""


def _place(place: dict[str, str]) -> str:
    return f"{place['version']} ({place['variant']})"


def _end(breach: dict[str, Any]) -> str:
    if breach["cleared_at"]:
        return f"cleared {breach['cleared_at']}"
    return f"retired {breach['retired_at']}" if breach["retired_at"] else "breached"
