"""Every kind of channel, and where it is."""

from __future__ import annotations

KINDS = {
    "log": "watchdog.channels.log:LogChannel",
    "slack": "watchdog.channels.slack:SlackChannel",
    "pagerduty": "watchdog.channels.pagerduty:PagerDutyChannel",
    "webhook": "watchdog.channels.webhook:WebhookChannel",
}
