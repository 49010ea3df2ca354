"""Commands that work on this machine: `run`, `check`, `doctor`, `demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchdog.cli.failure import Failure
from watchdog.cli.options import ConfigFile, Json

if TYPE_CHECKING:
    from pathlib import Path

    from watchdog.app.finding import Finding
    from watchdog.config.check import Checked
    from watchdog.config.loaded import Configuration, Problem


def run(config: ConfigFile) -> None:
    """Run the daemon until it is told to stop (SIGTERM, Ctrl-C)."""
    import gc
    import signal

    # Until there is something to reload: a SIGHUP would end the start. What has changed by then is seen by itself.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _alone()
    # What is imported stays: looking for garbage in it costs a sixth of the start. `watchdog.app.run` goes on with it.
    gc.disable()
    from watchdog.app.run import run as run_daemon

    raise typer.Exit(run_daemon(config))


def check(config: ConfigFile, json: Json = False) -> None:
    """Validate a configuration and its rules. Every mistake is a line FILE:LINE:COL: message."""
    import os
    from datetime import UTC, datetime

    from watchdog.cli.output import note, say, say_json
    from watchdog.config.check import check as check_configuration

    checked = check_configuration(config, os.environ, now=datetime.now(UTC))
    if json:
        say_json(_checked(checked))
        raise typer.Exit(0 if checked.ok else 1)
    for remark in checked.notes:
        note(f"note: {remark}")
    for problem in checked.problems:
        say(str(problem))
    if not checked.ok:
        raise typer.Exit(1)
    say(_summary(checked))


def doctor(
    config: ConfigFile,
    json: Json = False,
    role: Annotated[
        bool, typer.Option("--role", help="Print the Kubernetes Role that it needs instead; reach nothing.")
    ] = False,
    account: Annotated[
        str, typer.Option("--account", help="With --role: the service account's name.")
    ] = "rollback-watchdog",
    namespace: Annotated[
        str, typer.Option("--namespace", help="With --role: the service account's namespace.")
    ] = "rollback-watchdog",
    send_test: Annotated[
        list[str] | None,
        typer.Option(
            "--send-test",
            metavar="CHANNEL",
            help="Send one real message, marked as a test, through this channel instead. Can be repeated.",
        ),
    ] = None,
) -> None:
    """Reach everything it names and say what would not work.

    Every source, channel and traffic switch is looked at, the store, and in a Kubernetes cluster what we may do there:
    all that is needed, and nothing dangerous beyond it. Acts on nothing; only --send-test sends, and looks at nothing
    else.
    """
    import asyncio
    import os

    from watchdog.app.finding import Health, worst
    from watchdog.cli.output import say, say_json, table
    from watchdog.config.load import load

    _alone()
    configuration = load(config, environ=os.environ)
    if role:
        from watchdog.app.doctor import role as role_of

        typer.echo(asyncio.run(role_of(configuration, account=account, home=namespace)), nl=False)
        return
    if send_test:
        raise typer.Exit(_send_tests(configuration, send_test, json=json))
    from watchdog.app.doctor import examine

    findings = asyncio.run(examine(configuration))
    if json:
        say_json({"ok": worst(findings) is not Health.BAD, "findings": [_finding(one) for one in findings]})
    else:
        rows = [[one.what, one.health.value, one.detail, one.advice] for one in findings]
        table(["WHAT", "HEALTH", "DETAIL", "WHAT TO DO"], rows)
        counts = [f"{sum(one.health is health for one in findings)} {health.value}" for health in Health]
        say(", ".join(counts))
    raise typer.Exit(1 if worst(findings) is Health.BAD else 0)


def demo(
    json: Annotated[
        bool, typer.Option("--json", help="Print one last line of JSON with the figures.")
    ] = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Ask a real Prometheus instead of scraping.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running to look around.")] = False,
) -> None:
    """See a bad deployment noticed and rolled back, in a minute."""
    _alone()
    from watchdog.demo.command import demo as run_demo

    raise typer.Exit(run_demo(json=json, prometheus=prometheus, keep=keep))


def _send_tests(configuration: Configuration, names: list[str], *, json: bool) -> int:
    import asyncio
    from dataclasses import asdict

    from watchdog.app.rehearsal import send_tests
    from watchdog.cli.output import say_json, table
    from watchdog.telemetry.logging import configure

    configure()  # a channel may be the log, and standard output is for the answer
    tried = asyncio.run(send_tests(configuration, list(dict.fromkeys(names)), by=_who()))
    if json:
        say_json({"ok": all(one.ok for one in tried), "sent": [asdict(one) for one in tried]})
    else:
        rows = [[one.channel, one.kind, one.outcome, one.detail, one.advice] for one in tried]
        table(["CHANNEL", "KIND", "OUTCOME", "DETAIL", "WHAT TO DO"], rows)
    return 0 if all(one.ok for one in tried) else 1


def _who() -> str:
    """Who asks, as this machine knows them."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        user = "somebody"
    return f"{user} on {socket.gethostname()}"


def _alone() -> None:
    from watchdog.app.environment import conflicting_distribution

    conflict = conflicting_distribution()
    if conflict is not None:
        raise Failure(conflict)


def _summary(checked: Checked) -> str:
    found = checked.summary
    if found is None:
        raise RuntimeError("a configuration without mistakes has a summary")
    ladders = _count(found.escalations, "escalation policy", "escalation policies")
    policies = f", {ladders}" if found.escalations else ""
    return (
        f"The configuration is valid: {_count(found.services, 'service')}, {_count(found.rules, 'rule')} "
        f"({found.armed_rules} can roll back), {_count(found.sources, 'source')}, "
        f"{_count(found.channels, 'channel')}, {_count(found.routes, 'route')}{policies}."
    )


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def _checked(checked: Checked) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "ok": checked.ok,
        "problems": [_problem(one) for one in checked.problems],
        "notes": [_problem(one) for one in checked.notes],
        "summary": asdict(checked.summary) if checked.summary else None,
    }


def _problem(one: Problem) -> dict[str, Any]:
    place: Path = one.at.file
    return {"file": str(place), "line": one.at.line, "column": one.at.column, "message": one.message}


def _finding(one: Finding) -> dict[str, str]:
    return {"what": one.what, "health": one.health.value, "detail": one.detail, "advice": one.advice}
