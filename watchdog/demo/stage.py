"""The demo's stage: two versions of the shop, a proxy in front of them, the watchdog behind it, each its own process.

HAProxy when it is installed, else the small proxy through the `command` switch; the `scrape` source, or a real
Prometheus.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from watchdog.core.errors import WatchdogError
from watchdog.demo.process import free_port, start

SERVICE = "shop"
#: Variant to version: blue is live first.
VERSIONS = {"blue": "v1", "green": "v2"}
FAIL_EVERY = {"blue": 0, "green": 5}


class Missing(WatchdogError):
    """A program the demo was asked to use is not installed."""


def find_haproxy() -> str | None:
    """Where HAProxy is, if it is installed. Debian keeps it out of a plain user's PATH."""
    return shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin")


def _find_prometheus() -> str:
    binary = shutil.which("prometheus")
    if binary is None:
        raise Missing("prometheus is not installed; on Debian: apt-get install prometheus")
    return binary


@dataclass(slots=True)
class Stage:
    """Everything that runs. `front` is where visitors go, `url` the daemon's API."""

    folder: Path
    prometheus: bool
    haproxy: str | None
    front: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)
    api: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    shops: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in VERSIONS})

    @property
    def url(self) -> str:
        """The daemon's API."""
        return f"http://127.0.0.1:{self.api}"

    @property
    def switch(self) -> str:
        """The kind of the switch in use."""
        return "haproxy" if self.haproxy else "command"

    @property
    def configuration(self) -> Path:
        """The daemon's configuration."""
        return self.folder / "watchdog.yaml"

    async def set_up(self, stack: AsyncExitStack) -> None:
        """Start all of it; the stack ends all of it. Raises `WatchdogError`, `Missing` before anything was started."""
        binary = _find_prometheus() if self.prometheus else None
        for variant, version in VERSIONS.items():
            port = self.shops[variant]
            await start(stack, self._shop(variant, version), log=self.folder / f"{version}.log", port=port)
        await self._start_proxy(stack)
        if binary is not None:
            await self._start_prometheus(stack, binary)
        self._write_configuration()
        argv = [sys.executable, "-m", "watchdog", "run", "-c", str(self.configuration)]
        await start(stack, argv, log=self.folder / "watchdog.log", port=self.api)

    def _shop(self, variant: str, version: str) -> list[str]:
        module = [sys.executable, "-m", "watchdog.demo.shop", "--service", SERVICE, "--version", version]
        return [*module, "--port", str(self.shops[variant]), "--fail-every", str(FAIL_EVERY[variant])]

    async def _start_proxy(self, stack: AsyncExitStack) -> None:
        log = self.folder / "proxy.log"
        if self.haproxy:
            config = self.folder / "haproxy.cfg"
            config.write_text(self._haproxy_cfg())
            await start(stack, [self.haproxy, "-db", "-f", str(config)], log=log, port=self.front)
            return
        ports = ["--port", str(self.front), "--admin-port", str(self.admin)]
        variants = [f"--variant={name}={port}" for name, port in self.shops.items()]
        argv = [sys.executable, "-m", "watchdog.demo.proxy", *ports, *variants]
        await start(stack, argv, log=log, port=self.front)

    @property
    def _socket(self) -> Path:
        return self.folder / "admin.sock"

    def _haproxy_cfg(self) -> str:
        return f"""global
    stats socket {self._socket} mode 600 level admin
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
frontend visitors
    bind 127.0.0.1:{self.front}
    default_backend {SERVICE}
backend {SERVICE}
    option httpchk GET /healthz
    server srv_blue 127.0.0.1:{self.shops["blue"]} weight 100 check inter 500ms
    server srv_green 127.0.0.1:{self.shops["green"]} weight 0 check inter 500ms
"""

    async def _start_prometheus(self, stack: AsyncExitStack, binary: str) -> None:
        targets = [f"127.0.0.1:{port}" for port in self.shops.values()]
        scrape = {"job_name": SERVICE, "static_configs": [{"targets": targets}]}
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}
        path = self.folder / "prometheus.yml"
        path.write_text(json.dumps(config))
        argv = [
            binary,
            f"--config.file={path}",
            f"--storage.tsdb.path={self.folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.metrics}",
            "--log.level=warn",
        ]
        await start(stack, argv, log=self.folder / "prometheus.log", port=self.metrics)

    def _write_configuration(self) -> None:
        (self.folder / "token").write_text(self.token)
        (self.folder / "token").chmod(0o600)
        (self.folder / "rules.yaml").write_text(_RULES)
        self.configuration.write_text(
            _CONFIGURATION.format(
                api=self.api, source=self._source(), service=SERVICE, traffic=json.dumps(self._traffic())
            )
        )

    def _source(self) -> str:
        if self.prometheus:
            return json.dumps({"kind": "prometheus", "url": f"http://127.0.0.1:{self.metrics}"})
        urls = [f"http://127.0.0.1:{port}/metrics" for port in self.shops.values()]
        return json.dumps({"kind": "scrape", "urls": urls, "interval": "500ms", "timeout": "400ms"})

    def _traffic(self) -> dict[str, object]:
        if self.haproxy:
            variants = {"blue": "srv_blue", "green": "srv_green"}
            return {"kind": "haproxy", "socket": str(self._socket), "backend": SERVICE, "variants": variants}
        valve = [sys.executable, "-m", "watchdog.demo.valve", str(self.admin)]
        return {
            "kind": "command",
            "read": [*valve, "read"],
            "apply": [*valve, "apply", "{variant}", "{expect}"],
        }

    async def move_traffic(self, variant: str) -> None:
        """What a deploy job does: send everybody to a variant."""
        if not self.haproxy:
            await _post(self.admin, f"/traffic?live={variant}")
            return
        other = next(name for name in VERSIONS if name != variant)
        commands = (
            f"set server {SERVICE}/srv_{variant} weight 100; set server {SERVICE}/srv_{other} weight 0\n"
        )
        reader, writer = await asyncio.open_unix_connection(self._socket)
        writer.write(commands.encode())
        await writer.drain()
        await reader.read()
        writer.close()
        await writer.wait_closed()


async def _post(port: int, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    await reader.read()
    writer.close()
    await writer.wait_closed()


_RULES = """version: 1
rules:
  - name: error-rate
    summary: share of requests answered 5xx
    unit: ratio
    ratio:
      bad: 'http_requests_total{service="$service",version="$version",status=~"5.."}'
      total: 'http_requests_total{service="$service",version="$version"}'
    window: 4s
    threshold: {warning: 0.5%, critical: 1%, rollback: 150%}
    hold: {warning: 2 samples, critical: 2 samples, rollback: 2 samples}
    interval: critical
"""

_CONFIGURATION = """version: 1
rules: [rules.yaml]
intervals: {{critical: 1s, recheck: 500ms}}
store: {{url: "sqlite:///watchdog.db"}}
pause_file: ./pause
server:
  listen: "127.0.0.1:{api}"
  tokens: [{{name: demo, role: operator, token: !file token}}]
sources:
  metrics: {source}
services:
  - name: {service}
    environment: demo
    rules: [error-rate]
    mode: enforce
    traffic: {traffic}
    rollback: {{warmup: 1s, soak: 4s, stabilise: 1s, verify: 5s, contest_for: 3s}}
channels:
  log: {{kind: log}}
routes:
  - {{to: [log]}}
"""
