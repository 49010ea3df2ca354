"""What no service may consist of: this watchdog, what it sees with and what it speaks with (failure catalogue, C8).

A rollback of it would end in the dark. Addresses are compared as they are written: this module must never resolve a
name or open a connection, so what stands behind another name or a proxy is not found.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from watchdog.cluster.pod import OwnPod
from watchdog.config.loaded import Provider, Server, ServiceEntry
from watchdog.config.problems import Problems
from watchdog.config.providers import Providers

_PORTS = {"http": 80, "https": 443}


class Ourselves:
    """Our own addresses: where we listen, where sources answer and channels are written to.

    The pages of a source with many `urls` are those of what is watched, and none of ours.
    """

    def __init__(
        self,
        server: Server,
        sources: Mapping[str, Provider],
        channels: Mapping[str, Provider],
        pod: OwnPod | None = None,
    ) -> None:
        """`pod` is the one this process runs in."""
        self._server = server
        self.pod = pod
        self._named: dict[tuple[str, int], str] = {}
        for family, providers in (("source", sources), ("channel", channels)):
            for name, provider in providers.items():
                place = _place_of(getattr(provider.settings, "url", None))
                if place is not None:
                    self._named.setdefault(place, f"{family} {name!r}")

    def at(self, address: str) -> str:
        """What of ours is at `HOST:PORT`; empty when nothing is known to be."""
        host, _, port = address.rpartition(":")
        if not port.isdecimal():
            return ""
        place = _plain(host), int(port)
        if self.pod is not None and self.pod.address and place[0] == _plain(self.pod.address):
            return "the pod that this watchdog runs in"
        if place[1] == self._server.port and self._listens(place[0]):
            return "this watchdog itself"
        return self._named.get(place, "")

    def _listens(self, host: str) -> bool:
        own = _plain(self._server.host)
        if host == own:
            return True
        here, everywhere = _address(host), _address(own)
        return here is not None and here.is_loopback and everywhere is not None and everywhere.is_unspecified


def refuse_ourselves(
    services: Iterable[ServiceEntry], ours: Ourselves, providers: Providers, problems: Problems
) -> None:
    """Every switch whose settings tell that it would move traffic to or from something of ours is a mistake."""
    for entry in services:
        switch = providers.class_of("traffic", entry.traffic.kind)
        addresses = getattr(switch, "addresses", None)
        for address in addresses(entry.traffic.settings) if addresses is not None else ():
            if what := ours.at(address):
                words = f"{address} is {what}: a service cannot be what it is watched with"
                problems.add(entry.traffic.at, words)
        of_pod = getattr(switch, "of_pod", None)
        if ours.pod is not None and of_pod is not None and of_pod(entry.traffic.settings, ours.pod):
            words = f"its pods are this watchdog's own ({ours.pod.name}): a rollback would take it along"
            problems.add(entry.traffic.at, words)


def _place_of(url: Any) -> tuple[str, int] | None:
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (_plain(parts.hostname), port) if parts.hostname and port else None


def _plain(host: str) -> str:
    """A host as it compares."""
    host = host.strip("[]").lower()
    return "127.0.0.1" if host == "localhost" else host


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
