"""Two real daemons on one PostgreSQL database, one tier A switch between them, and a log that outlives them all.

stage = ReplicaStage(tmp_path, stack, store_url)
await stage.open()                      # `a` leads and knows a good version, `b` follows
await stage.deploy_bad()                # v2 takes all traffic, and half of its requests fail
await stage.rolled_back()
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from tests.channels.receiver import Receiver, receiving
from tests.e2e.daemon import Daemon
from tests.e2e.people import SECRET
from tests.eventually import eventually
from tests.faults.crash_lives import Life, Lives, Order
from tests.faults.crash_numbers import RULE, Numbers
from tests.faults.recorded import OUTSIDE, Recorded
from watchdog.core.traffic import Tier

#: How long a machine under load may take for what takes seconds.
PATIENCE = 60.0
NAME = "trips"
LEADER = {"kind": "postgres", "lease": "3s", "renew": "2s", "retry": "200ms", "timeout": "2s"}
#: Twice that lease (seconds).
TWO_LEASES = 6.0
_ROLLBACK = {
    "warmup": "0s",
    "soak": "0s",
    "stabilise": "100ms",
    "verify": "5m",
    "contest_for": "200ms",
    "cooldown": "0s",
    "max_per_day": 100,
}


class Replica:
    """One of them: its configuration, its life, its API."""

    def __init__(self, name: str, daemon: Daemon) -> None:
        self.name = name
        self.daemon = daemon
        self.life: Life | None = None

    @property
    def lives(self) -> Life:
        assert self.life is not None
        return self.life

    async def status(self) -> dict[str, Any]:
        """What it says of itself; empty when it does not answer."""
        try:
            async with asyncio.timeout(2):
                found: dict[str, Any] = await self.daemon.get("status")
        except (aiohttp.ClientError, TimeoutError, AssertionError):
            return {}
        return found

    async def listed(self, what: str) -> list[dict[str, Any]]:
        """What it shows of the service; nothing when it does not answer in time."""
        try:
            found: list[dict[str, Any]] = await self.daemon.get(f"{what}?service={NAME}")
        except (aiohttp.ClientError, TimeoutError):
            return []
        return found

    async def listed_messages(self, state: str) -> list[dict[str, Any]] | None:
        """Messages in this state; `None` when it does not answer in time."""
        try:
            found: list[dict[str, Any]] = await self.daemon.get(f"outbox?state={state}&limit=200")
        except (aiohttp.ClientError, TimeoutError):
            return None
        return found

    async def listed_services(self) -> list[dict[str, Any]]:
        """The services as it shows them; nothing when it does not answer in time."""
        try:
            found: list[dict[str, Any]] = await self.daemon.get("services")
        except (aiohttp.ClientError, TimeoutError):
            return []
        return found

    async def leads(self) -> bool:
        return bool((await self.status()).get("leader"))

    async def follows(self) -> bool:
        """It follows, and has read the store."""
        found = await self.status()
        return found.get("leader") is False and not found["store_error"]


class ReplicaStage:
    """`a` is begun first."""

    def __init__(self, folder: Path, stack: AsyncExitStack, store: str) -> None:
        self.recorded = Recorded()
        self.numbers = Numbers(self.recorded, [NAME])
        self.receiver = Receiver()
        self.lives = Lives(folder)
        self.a, self.b = (Replica(name, Daemon(folder / name)) for name in "ab")
        self._store = store
        self._stack = stack
        self._version = 1
        self._since = 0

    async def open(self, orders: Sequence[Order] = ()) -> None:
        """Everything around them, then both; `orders` are for the one that leads."""
        enter = self._stack.enter_async_context
        await enter(self.recorded)
        await enter(self.numbers)
        await enter(self.lives)
        await enter(receiving(self.receiver))
        self.recorded.add(NAME, tier=Tier.A, live="blue", versions={"blue": "v1", "green": "v0"})
        for one in (self.a, self.b):
            self._configure(one)
        await self.begin(self.a, orders)
        await eventually(self.a.leads, within=PATIENCE, every=0.1, what="a leader")
        await self.begin(self.b)
        await eventually(self.b.follows, within=PATIENCE, every=0.1, what="a follower")
        await self.until(self.a, "stable", "v1")

    async def begin(self, replica: Replica, orders: Sequence[Order] = ()) -> None:
        """One more life of it."""
        replica.life = await self.lives.begin(replica.daemon.config, orders)

    def _configure(self, replica: Replica) -> None:
        daemon = replica.daemon
        secret = daemon.folder / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        daemon.rules = [RULE]
        hook = {"kind": "webhook", "url": self.receiver.url, "secret": "!file secret", "timeout": "5s"}
        daemon.settings |= {
            "intervals": {"critical": "200ms", "recheck": "200ms"},
            "store": {"url": self._store, "timeout": "5s"},
            "leader": {**LEADER, "identity": replica.name},
            "sources": {"numbers": self.numbers.settings},
            "channels": {"hook": hook, "log": {"kind": "log"}},
            "routes": [{"to": ["hook", "log"]}],
            "services": [
                {
                    "name": NAME,
                    "environment": "production",
                    "rules": [RULE["name"]],
                    "mode": "enforce",
                    "rollback": dict(_ROLLBACK),
                    "traffic": self.recorded.settings(NAME),
                }
            ],
        }
        daemon.write()

    async def deploy_bad(self, *, seen_by: Replica | None = None) -> None:
        """The next version goes to green, is seen there, and turns bad."""
        leader = seen_by or self.a

        async def judged() -> bool:
            """Of a version of which nothing was known before, nobody could say that it was well."""
            found = [one for one in await leader.listed_services() if one["name"] == NAME]
            return any(check["level"] == "ok" for one in found for check in one["checks"])

        await eventually(judged, within=PATIENCE, every=0.1, what="a verdict on what is live")
        since = len(self.recorded.log)

        def looked_at() -> bool:
            """The deployment begins at the last sight of what was live before: behind that verdict."""
            return sum(one.kind == "read" for one in self.recorded.log[since:]) >= 3

        await eventually(looked_at, within=PATIENCE, every=0.05, what="another look at the switch")
        self._version += 1
        version = f"v{self._version}"
        self._since = len(self.recorded.log)
        self.recorded.move(NAME, "green", version=version)
        await self.until(leader, "watching", version)
        self.numbers.bad.add(version)

    async def until(self, replica: Replica, state: str, version: str) -> None:
        """Wait until this one shows a deployment in this state."""

        async def there() -> bool:
            found = await replica.listed("deployments")
            return any(one["state"] in {state, "stable"} and one["version"] == version for one in found)

        await eventually(there, within=PATIENCE, every=0.1, what=f"{version} to be {state}")

    async def rolled_back(self, replica: Replica) -> dict[str, Any]:
        """Wait until this one shows the rollback complete; traffic was moved back once, as it should be."""

        async def done() -> dict[str, Any] | None:
            found = await replica.listed("rollbacks")
            newest = [one for one in found if one["from"]["version"] == f"v{self._version}"]
            assert len(newest) <= 1, f"{len(newest)} rollbacks"
            over = [one for one in newest if one["state"] == "completed"]
            return dict(over[0]) if over else None

        rollback = await eventually(done, within=PATIENCE, every=0.1, what="a rollback that is complete")
        self.judge()
        return rollback or {}

    def judge(self) -> None:
        """Traffic went to green by somebody else, and back by one daemon, once."""
        moves = self.recorded.moves(NAME, since=self._since)
        assert [(one.who == OUTSIDE, one.after) for one in moves] == [
            (True, ("green",)),
            (False, ("blue",)),
        ], moves
        assert self.recorded.faults(since=self._since) == []

    def movers(self) -> list[int]:
        """The processes that moved traffic since the last deployment, in order."""
        return [one.who for one in self.recorded.moves(NAME, since=self._since) if one.who != OUTSIDE]

    def writers(self) -> list[int]:
        """The processes that tried to write since, whatever came of it."""
        return [one.who for one in self.recorded.writes(NAME, since=self._since)]

    def heard(self) -> Counter[str]:
        """How often each message came, by its key."""
        return Counter(one.headers["idempotency-key"] for one in self.receiver.received)

    def told(self, kind: str) -> int:
        """How many messages of a kind came, under different keys."""
        keys = {
            one.headers["idempotency-key"]
            for one in self.receiver.received
            if json.loads(one.body)["kind"] == kind
        }
        return len(keys)

    async def stands_still(self, replica: Replica) -> None:
        """Wait until its hook has stopped it, all of its threads."""
        life = replica.lives
        await eventually(
            lambda: "T" in states(life.pid), within=PATIENCE, every=0.02, what="a process that stands still"
        )

    def thaw(self, replica: Replica) -> None:
        replica.lives.send(signal.SIGCONT)

    def said(self) -> str:
        """The end of both logs."""
        return self.lives.log.read_text(errors="replace")[-4000:]


def states(pid: int) -> set[str]:
    """The states of a process's threads."""
    found = set[str]()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        found.add(stat.read_text().rpartition(")")[2].split()[0])
    return found
