"""Whether a Slack channel would work, without telling anybody: token, rights, channel, app token.

This module must never post.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from datetime import timedelta

from yarl import URL

from watchdog.channels.posting import named
from watchdog.channels.slack_api import Api, Exchange, Failed
from watchdog.channels.slack_settings import SlackSettings
from watchdog.core.units import format_duration

_ID = re.compile(r"[CG][A-Z0-9]{8,}")
_READS = ("channels:read", "groups:read")


async def inspect_bot(api: Api, settings: SlackSettings, exchange: Exchange) -> str | None:
    """What is wrong; `None` when nothing is. Raises `Failed`."""
    token = _reveal(settings.token)
    answer = await api.call(token, "auth.test", {}, exchange=exchange)
    granted = {name.lower(): value for name, value in answer["headers"].items()}.get("x-oauth-scopes")
    scopes = frozenset(one.strip() for one in (granted or "").split(","))
    wanted = ["chat:write", "files:write", *(["usergroups:read"] if settings.groups else [])]
    lacking = [one for one in wanted if granted is not None and one not in scopes]
    if lacking:
        what = "scope" if len(lacking) == 1 else "scopes"
        return f"the app lacks the {what} {', '.join(lacking)}: add it and install the app again"
    if scopes.intersection(_READS) and _ID.fullmatch(settings.channel):
        found = await api.call(
            token, "conversations.info", {"channel": settings.channel}, form=True, exchange=exchange
        )
        channel = found.get("channel") or {}
        if channel.get("is_archived"):
            return f"the channel {settings.channel} is archived"
        if channel.get("is_member") is False and "chat:write.public" not in scopes:
            return f"the bot is not in the channel {settings.channel}: invite the bot"
    if settings.app_token is not None:
        try:
            await api.call(_reveal(settings.app_token), "apps.connections.open", {}, exchange=exchange)
        except Failed as failed:
            return f"the app token does not open Socket Mode: {failed.outcome.reason}"
    return None


async def inspect_webhook(address: str, *, tls: ssl.SSLContext, timeout: timedelta) -> str | None:
    """Connect and hang up. Never raises for an outside fault."""
    url = URL(address)
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            _, writer = await asyncio.open_connection(
                url.host, url.port, ssl=tls if url.scheme == "https" else None
            )
            writer.transport.abort()
    except TimeoutError:
        return f"no connection: nothing within {format_duration(timeout)}"
    except (OSError, ValueError) as error:
        return f"no connection: {named(error)}"
    return None


def _reveal(value: object) -> str:
    return value.get_secret_value().strip() if hasattr(value, "get_secret_value") else ""
