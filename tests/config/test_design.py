"""The configuration as the design writes it, word for word: what stands there as `…` is filled in, nothing else."""

from __future__ import annotations

from pathlib import Path

from watchdog.config.load import load
from watchdog.core.rule import Severity

MAIN = """
version: 1
rules: [rules/*.yaml]
intervals: {critical: 30s, normal: 5m, extended: 1h, recheck: 5s}
server:
  listen: "127.0.0.1:9911"
  metrics: open                                # open | token
  tokens: [{name: ci, role: operator, token: !file secrets/ci}]
sources:
  prometheus: {kind: prometheus, url: "http://127.0.0.1:9090", timeout: 5s}
services:
  - name: trips
    environment: production
    labels: {team: booking}
    rules: [error-rate]
    mode: enforce                              # observe | approve | enforce
    traffic:
      kind: haproxy
      socket: /run/haproxy/admin.sock
      backend: trips
      variants: {blue: srv_blue, green: [srv_green1, srv_green2]}
  - name: trips-next
    environment: staging
    rules: [error-rate]
    traffic: {kind: haproxy, socket: /run/haproxy/admin.sock, backend: next, variants: {blue: srv_1, green: srv_2}}
environments:                                  # profiles merged under each service's own values
  production: {rollback: {armed_for: 30m}}
  staging:    {rollback: {armed_for: 10m, soak: 10m}}
channels:
  ops:       {kind: slack, token: !env SLACK_BOT_TOKEN, channel: "#ops"}
  oncall:    {kind: pagerduty, routing_key: !file secrets/pagerduty}
  team-lead: {kind: sms, account: AC123, token: !env SMS_TOKEN, from: "+15550001111", to: ["+821012345678"]}
  manager:   {kind: email, host: smtp.example.com, port: 587, tls: starttls, from: watchdog@example.com,
              to: [manager@example.com]}
  mail:      {kind: email, host: smtp.example.com, from: watchdog@example.com, to: [ops@example.com]}
  hook:      {kind: webhook, url: "https://example.com/hook", secret: !env HOOK_SECRET}
  log:       {kind: log}
routes:                                        # first match wins; the last has no match
  - {match: {environment: staging}, to: [ops]}
  - {escalation: production}
escalations:
  production:
    critical: [{to: [oncall, ops]}, {after: 5m, to: [team-lead]}]
    high:     [{to: [ops, mail]}, {after: 15m, to: [manager]}]
    medium:   [{to: [ops]}, {after: 1h, to: [manager]}]
    low:      [{to: [mail]}, {after: 24h, digest: weekly}]
heartbeat: {url: "https://hc.example.com/ping/abc", every: 1m}            # external dead-man switch
"""
RULES = """
version: 1
rules:
  - name: error-rate
    ratio:
      bad:   http_requests_total{service="$service",version="$version",status=~"5.."}
      total: http_requests_total{service="$service",version="$version"}
    threshold: {warning: 0.5%, critical: 1%, rollback: 150%}
"""
ENVIRONMENT = {
    "SLACK_BOT_TOKEN": "a-token",
    "SMS_TOKEN": "another-token",
    "HOOK_SECRET": "a-secret-of-a-hook",
}


def test_the_channels_routes_and_escalations_of_the_design_are_read_as_they_stand_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "web.yaml").write_text(RULES)
    (tmp_path / "secrets").mkdir(mode=0o700)
    for name in ("ci", "pagerduty"):
        (tmp_path / "secrets" / name).write_text("a-secret-that-is-long-enough\n")
        (tmp_path / "secrets" / name).chmod(0o600)
    (tmp_path / "watchdog.yaml").write_text(MAIN)
    found = load(tmp_path / "watchdog.yaml", environ=ENVIRONMENT)
    kinds = {name: channel.kind for name, channel in found.channels.items()}
    assert kinds == {
        "ops": "slack",
        "oncall": "pagerduty",
        "team-lead": "sms",
        "manager": "email",
        "mail": "email",
        "hook": "webhook",
        "log": "log",
    }
    staging, rest = found.routes
    assert (staging.match, staging.to) == ({"environment": "staging"}, ("ops",))
    assert rest.policy is not None
    steps = {
        severity: [(step.after.total_seconds(), step.to) for step in ladder]
        for severity, ladder in rest.policy.ladders.items()
    }
    assert steps == {
        Severity.CRITICAL: [(0, ("oncall", "ops")), (300, ("team-lead",))],
        Severity.HIGH: [(0, ("ops", "mail")), (900, ("manager",))],
        Severity.MEDIUM: [(0, ("ops",)), (3600, ("manager",))],
        Severity.LOW: [(0, ("mail",)), (86400, ("mail",))],
    }
    assert found.heartbeat is not None
