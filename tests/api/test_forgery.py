"""Requests that nobody who may has sent: they change nothing, whatever they ask for (failure catalogue F7)."""

from __future__ import annotations

import hashlib
import hmac
import json

import aiohttp
import pytest

from tests.api.conftest import Serve
from tests.api.daemon import NOW, Daemon
from watchdog.api.routes import ROUTES

WRITES = sorted(route.path for route in ROUTES if route.method != "GET")
BODY = json.dumps(
    {"service": "trips", "version": "v3", "variant": "blue", "reason": "because", "to": "v1"}
).encode()


def path_of(pattern: str) -> str:
    return pattern.replace("{name}", "trips").replace("{id}", "inc-1")


def forged(secret: str, stamp: str, *, key: str = "") -> dict[str, str]:
    """Signed in both ways, with what somebody thinks is the secret."""
    own = hmac.new((key or secret).encode(), stamp.encode() + b"." + BODY, hashlib.sha256).hexdigest()
    hub = hmac.new((key or secret).encode(), BODY, hashlib.sha256).hexdigest()
    return {
        "X-Watchdog-Timestamp": stamp,
        "X-Watchdog-Signature": f"v1={own}",
        "X-Hub-Signature-256": f"sha256={hub}",
    }


ATTEMPTS = {
    "nothing": {},
    "a viewer": {"Authorization": "Bearer viewer-token"},
    "a guess": {"Authorization": "Bearer operator-toke"},
    "no scheme": {"Authorization": "operator-token"},
    "a wrong key": forged("operator-toke", str(int(NOW.timestamp()))),
    "a viewer's key": forged("viewer-token", str(int(NOW.timestamp()))),
    "another time": {
        **forged("operator-token", str(int(NOW.timestamp()) - 3600)),
        "X-Watchdog-Timestamp": str(int(NOW.timestamp())),
    },
    "an old one": forged("operator-token", str(int(NOW.timestamp()) - 301)),
}


@pytest.mark.parametrize("who", ATTEMPTS)
async def test_who_may_not_write_changes_nothing_anywhere(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon, who: str
) -> None:
    url = await serve()
    assert len(WRITES) > 10
    for pattern in WRITES:
        headers = {"Content-Type": "application/json", **ATTEMPTS[who]}
        async with anybody.post(url + path_of(pattern), data=BODY, headers=headers) as answer:
            # Most say 401; a known token that may only read, and callbacks that no channel takes, say so.
            assert answer.status in ({401, 403, 404} if "viewer" in who else {401, 404}), pattern
            assert answer.status != 404 or "is configured to take callbacks" in await answer.text(), pattern
    assert daemon.asked == []
