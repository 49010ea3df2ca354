"""Every kind of traffic switch, and where it is."""

from __future__ import annotations

KINDS = {
    "command": "watchdog.traffic.command:CommandSwitch",
    "haproxy": "watchdog.traffic.haproxy:HAProxySwitch",
    "nginx": "watchdog.traffic.nginx:NginxSwitch",
}
