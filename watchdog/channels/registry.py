"""Every kind of channel, and where it is."""

from __future__ import annotations

KINDS = {
    "log": "watchdog.channels.log:LogChannel",
    "slack": "watchdog.channels.slack:SlackChannel",
    "pagerduty": "watchdog.channels.pagerduty:PagerDutyChannel",
    "email": "watchdog.channels.email:EmailChannel",
    "sms": "watchdog.channels.sms:SmsChannel",
    "teams": "watchdog.channels.teams:TeamsChannel",
    "webhook": "watchdog.channels.webhook:WebhookChannel",
}
