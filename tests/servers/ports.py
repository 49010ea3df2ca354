"""Free loopback ports. Each is handed out once in a test run."""

from __future__ import annotations

import random
import socket

# Below Linux' ephemeral range (32768 and up): no outgoing connection takes the port before its server does.
_RANGE = (15_000, 32_000)
_given: set[int] = set()
_dice = random.SystemRandom()  # seeded dice would give two test runs on one machine the same ports


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now and that was not given before."""
    for _ in range(200):
        port = _dice.randrange(*_RANGE)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port on 127.0.0.1 in 200 tries")
