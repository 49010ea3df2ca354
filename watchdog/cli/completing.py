"""What a shell offers when somebody presses TAB: names and ids, asked of the running daemon.

Quick or nothing: a daemon that does not answer within a second offers none. This module must stay light, print
nothing and never raise: it runs in the middle of somebody's line.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

#: Longest wait for the daemon (seconds).
WITHIN = 1.0
#: So many of a list are offered, newest first.
_AT_MOST = "200"

Offered = list[tuple[str, str]]


def services(ctx: typer.Context, incomplete: str) -> Offered:
    """Names of services, with how they are."""
    return _offer(ctx, incomplete, "services", lambda one: (one["name"], one["level"]))


def incidents(ctx: typer.Context, incomplete: str) -> Offered:
    """Ids of open incidents, with what they are about."""
    return _offer(
        ctx,
        incomplete,
        "incidents",
        lambda one: (one["id"], f"{one['subject']}: {one['summary']}"),
        open="true",
    )


def silences(ctx: typer.Context, incomplete: str) -> Offered:
    """Ids of silences in force, with why."""
    return _offer(ctx, incomplete, "silences", lambda one: (one["id"], one["reason"]), active="true")


def dead_messages(ctx: typer.Context, incomplete: str) -> Offered:
    """Keys of messages that were given up, with what they say."""
    return _offer(ctx, incomplete, "outbox", lambda one: (one["id"], one["headline"]), state="dead")


def decisions(ctx: typer.Context, incomplete: str) -> Offered:
    """Ids of rollbacks and incidents, newest first."""
    rollbacks = _offer(
        ctx, incomplete, "rollbacks", lambda one: (one["id"], f"{one['service']}: {one['state']}")
    )
    known = _offer(
        ctx, incomplete, "incidents", lambda one: (one["id"], f"{one['subject']}: {one['summary']}")
    )
    return rollbacks + known


def versions(ctx: typer.Context, incomplete: str) -> Offered:
    """Versions of the service that the line names, with how they stand."""
    service = _service(ctx)
    if not service:
        return []
    return _offer(ctx, incomplete, "deployments", lambda one: (one["version"], one["state"]), service=service)


def variants(ctx: typer.Context, incomplete: str) -> Offered:
    """Variants of the service that the line names, as its switch shows them."""
    found = _asked(ctx, f"services/{_service(ctx)}") or {}
    shown = (found.get("traffic") or {}).get("variants") or {}
    return [
        (name, f"weight {one.get('weight')}") for name, one in shown.items() if name.startswith(incomplete)
    ]


def rules(ctx: typer.Context, incomplete: str) -> Offered:
    """Names of rules."""
    return _offer(ctx, incomplete, "rules", lambda one: (one["name"], one["summary"]))


def rule_tests(incomplete: str) -> Offered:
    """Files with tests of rules, and folders on the way to them."""
    try:
        folder, slash, name = incomplete.rpartition("/")
        found = sorted(one.name for one in Path(folder + slash or ".").iterdir() if one.name.startswith(name))
        seen = [one for one in found if name or not one.startswith(".")]
        files = [one for one in seen if one.endswith((".test.yaml", ".test.yml"))]
        folders = [f"{one}/" for one in seen if Path(folder + slash, one).is_dir()]
        return [(f"{folder}{slash}{one}", "") for one in (*files, *folders)]
    except OSError:
        return []


def labels(ctx: typer.Context, incomplete: str) -> Offered:
    """Labels that routes can match, and behind the `=` their values, as in the configuration that the line names."""
    try:
        from watchdog.config.load import load
        from watchdog.config.routed import values

        config = _given(ctx, "config")
        if config is None:
            return []
        known = values(load(Path(config), environ=os.environ))
        name, equals, begun = incomplete.partition("=")
        if not equals:
            return [(f"{one}=", "") for one in known if one.startswith(name)]
        return [(f"{name}={one}", "") for one in sorted(known.get(name, ())) if one.startswith(begun)]
    except Exception:  # noqa: BLE001 - a configuration with mistakes: nothing to offer
        return []


def _offer(
    ctx: typer.Context,
    incomplete: str,
    noun: str,
    shown: Callable[[Any], tuple[str, str]],
    **query: str,
) -> Offered:
    found: dict[str, str] = {}
    try:
        for one in (_asked(ctx, noun, **query) or {}).get("items", ()):
            value, about = shown(one)
            if value.startswith(incomplete) and value.isprintable():
                found.setdefault(value, "".join(c for c in about.split("\n")[0] if c.isprintable())[:60])
    except Exception:  # noqa: BLE001 - whatever answers there: what cannot be read is nothing to offer
        return []
    return list(found.items())


def _asked(ctx: typer.Context, path: str, **query: str) -> dict[str, Any] | None:
    """One answer of the daemon that the line means; nothing when there is none."""
    try:
        return _get(_given(ctx, "url"), _given(ctx, "token"), _given(ctx, "config"), path, query)
    except Exception:  # noqa: BLE001 - no daemon, no token, another program: nothing to offer
        return None


def _service(ctx: typer.Context) -> str:
    """The service that the line names. Behind an option that has no value yet, arguments are not parsed."""
    if ctx.params.get("service"):
        return str(ctx.params["service"])
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    words = line.split()
    behind = words[words.index(ctx.info_name) + 1 :] if ctx.info_name in words else []
    return behind[0] if behind and not behind[0].startswith("-") else ""


def _given(ctx: typer.Context, option: str) -> Any:
    """What an option was set to, on this command or before it."""
    here: Any = ctx
    while here is not None:
        if here.params.get(option):
            return here.params[option]
        here = here.parent
    return None


def _get(
    url: str | None, token: str | None, config: Any, path: str, query: dict[str, str]
) -> dict[str, Any] | None:
    import http.client
    import json
    from urllib.parse import quote, urlencode, urlsplit

    from watchdog.cli.address import address

    where = address(url, token, Path(config) if config else None)
    parts = urlsplit(where.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=WITHIN)
    try:
        headers = {"Authorization": f"Bearer {where.token}"} if where.token else {}
        asked = f"{parts.path}/api/v1/{quote(path)}?{urlencode({'limit': _AT_MOST, **query})}"
        connection.request("GET", asked if "/" not in path else asked.partition("?")[0], headers=headers)
        answer = connection.getresponse()
        found = json.loads(answer.read()) if answer.status == 200 else None
    finally:
        connection.close()
    return found if isinstance(found, dict) else None
