"""Every kind of channel, and where it is."""

from __future__ import annotations

KINDS = {
    "log": "watchdog.channels.log:LogChannel",
    "webhook": "watchdog.channels.webhook:WebhookChannel",
}
