"""The stage of the crash proof: many services, one daemon after the other, and a log that outlives them all.

A wave is one bad deployment of every service at once, on top of a version that is known to be good. Daemons die in it
as ordered; then one lives, and the log is asked what happened to traffic. Everything is as fast as it can be: one
sample is enough for a verdict, nothing warms up.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sqlite3
import sys
from collections import Counter, defaultdict
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
from tests.servers.process import ROOT
from watchdog.core.traffic import Tier
from watchdog.traffic.lock import HostLock

#: How long a machine under load may take for what takes a second.
PATIENCE = 60.0
_ROLLBACK = {
    "warmup": "0s",
    "soak": "0s",
    "stabilise": "100ms",
    "verify": "5m",
    "contest_for": "200ms",
    "cooldown": "0s",
    "max_per_day": 100_000,
}


class CrashStage:
    """`open`, then for each wave `wave`, any number of `life`, and `finish`."""

    def __init__(self, folder: Path, stack: AsyncExitStack, *, tier: Tier, services: int, seed: int) -> None:
        self.names = [f"s{number:02}" for number in range(services)]
        self.tier = tier
        self.seed = seed
        self.dice = random.Random(seed)
        self.daemon = Daemon(folder / "daemon")
        self.lives = Lives(self.daemon.folder)
        self.recorded = Recorded()
        self.numbers = Numbers(self.recorded, self.names)
        self.receiver = Receiver()
        self.version = "v1"
        self.moves = 0
        self._stack = stack
        self._since = 0
        self._life: Life | None = None

    async def open(self) -> None:
        """Everything around the daemon; then one daemon, until every service has a version that is known to be good."""
        enter = self._stack.enter_async_context
        await enter(self.recorded)
        await enter(self.numbers)
        await enter(receiving(self.receiver))
        await enter(self.lives)
        for name in self.names:
            self.recorded.add(name, tier=self.tier, live="blue", versions={"blue": "v1", "green": "v0"})
            self._stack.callback(
                HostLock(f"recorded:{self.recorded.socket}:{name}").path.unlink, missing_ok=True
            )
        self._keep_port()
        self._configure()
        await self.live()
        await self._until(
            "SELECT service FROM deployments WHERE state = 'stable'", set(self.names), "stable services"
        )

    def _keep_port(self) -> None:
        """Nobody else is given the daemon's port between two lives; daemons share it, as after a restart."""
        kept = self._stack.enter_context(socket.socket())
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", self.daemon.port))

    def _configure(self) -> None:
        secret = self.daemon.folder / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        self.daemon.rules = [RULE]
        self.daemon.settings |= {
            "intervals": {"critical": "100ms", "recheck": "100ms"},
            "sources": {"numbers": self.numbers.settings},
            "limits": {
                "max_rollbacks": "100000 per 10m",
                "max_breaching": {"share": "100%", "at_least": 1000},
            },
            "channels": {
                "hook": {
                    "kind": "webhook",
                    "url": self.receiver.url,
                    "secret": "!file secret",
                    "timeout": "5s",
                },
                "log": {"kind": "log"},
            },
            "routes": [{"to": ["hook", "log"]}],
            "services": [
                {
                    "name": name,
                    "environment": "production",
                    "rules": [RULE["name"]],
                    "mode": "enforce",
                    "rollback": dict(_ROLLBACK),
                    "traffic": self.recorded.settings(name),
                }
                for name in self.names
            ],
        }
        self.daemon.write()

    # Lives.

    async def live(self, orders: Sequence[Order] = ()) -> Life:
        """One more daemon; the one before it, if it lives, is killed first."""
        if self._life is not None and not self._life.over:
            await self._life.end()
        self._life = await self.lives.begin(self.daemon.config, orders)
        return self._life

    async def dies(self, life: Life, *, within: float = PATIENCE) -> int | None:
        """Its exit code; `None` when there is nothing left to do, and it lives."""
        await eventually(
            lambda: life.over or self.settled(),
            within=within,
            every=0.04,
            what="a death, or the end of all work",
        )
        if life.deeds[-1:] and not life.deeds[-1].startswith("raise"):
            async with asyncio.timeout(
                within
            ):  # what was the last of its work may have been done on the way out
                await asyncio.wait({life.ended})
        return life.ended.result() if life.ended.done() else None

    # Waves.

    async def wave(self, *, bad: bool = True) -> None:
        """The next version goes to green everywhere, is seen there, and turns bad. Nobody lives when this returns."""
        await self.live()
        await self._looked_at()
        self.version = f"v{int(self.version[1:]) + 1}"
        self._since = len(self.recorded.log)
        for name in self.names:
            self.recorded.move(name, "green", version=self.version)
        await self._until(
            "SELECT service FROM deployments WHERE json_extract(doc, '$.version') = ? "
            "AND state IN ('watching', 'stable')",
            set(self.names),
            f"{self.version} to be watched everywhere",
            self.version,
        )
        assert self._life is not None
        await self._life.end()
        if bad:
            self.numbers.bad.add(self.version)

    async def finish(self) -> None:
        """One daemon lives, everything ends as it should, and the log has nothing to say against it."""
        life = await self.live()
        await eventually(self.settled, within=PATIENCE, every=0.05, what="the end of every rollback")
        assert not life.over, self.said()
        self._judge()

    def settled(self) -> bool:
        """Whether every rollback of this wave is complete, every incident closed, and every message sent."""
        if any(self.recorded.live(name) != ("blue",) for name in self.names):
            return False
        done = self._stored(
            "SELECT service FROM rollbacks WHERE json_extract(doc, '$.from_version') = ? AND state = 'completed'",
            self.version,
        )
        if {name for (name,) in done} != set(self.names):
            return False
        left = self._stored(
            "SELECT (SELECT count(*) FROM outbox WHERE state != 'sent') "
            "+ (SELECT count(*) FROM incidents WHERE state != 'closed')"
        )
        return left == [(0,)]

    async def answers(self) -> None:
        """Wait until the daemon's API is there."""

        async def there() -> bool:
            return await asyncio.to_thread(self.daemon.answers, "/readyz") == 200

        await eventually(there, within=PATIENCE, what="an API that answers")

    async def ask_rollback(self, name: str) -> Any:
        """A person asks; the answer, or `None` when there is none because the daemon died."""
        try:
            status, body = await self.daemon.post(f"services/{name}/rollback", reason="it is bad")
        except aiohttp.ClientError:
            return None
        assert status in {200, 202}, body
        return body

    def requests(self) -> list[tuple[Any, ...]]:
        """What was asked for, as it is on the disk."""
        return self._stored("SELECT id FROM requests")

    def _judge(self) -> None:
        """Traffic of every service was moved exactly once, by a write whose revision had just been read."""
        for name in self.names:
            moves = self.recorded.moves(name, since=self._since)
            assert [(one.who == OUTSIDE, one.after) for one in moves] == [
                (True, ("green",)),
                (False, ("blue",)),
            ], f"{name} was not moved once: {moves}"
            self.moves += 1
            if self.tier is Tier.A:
                assert moves[1].mark == self.recorded.mark(name) == self._rollback(name)
        faults = self.recorded.faults(since=self._since)
        assert faults == [], "\n".join(faults)

    def _rollback(self, name: str) -> str:
        ((found,),) = self._stored(
            "SELECT id FROM rollbacks WHERE service = ? AND json_extract(doc, '$.from_version') = ?",
            name,
            self.version,
        )
        return str(found)

    def heard(self) -> None:
        """Every message was received, under one key; one rollback was told once, however often."""
        received = defaultdict(set)
        facts = ("kind", "service", "rollback", "incident", "headline", "audit_head")
        for one in self.receiver.received:
            body = json.loads(one.body)
            if body["kind"] == "store_failed":
                continue  # told past the store, which is what it is about
            received[one.headers["idempotency-key"]].add(tuple(body[fact] for fact in facts))
        for key, said in received.items():
            assert len(said) == 1, f"one key, two messages: {key}: {said}"
        due = {key for (key,) in self._stored("SELECT key FROM outbox WHERE channel = 'hook'")}
        # The webhook is given the key of the row, which names the channel, too.
        assert set(received) == due, f"never heard, or never due: {sorted(due ^ set(received))[:5]}"
        told = Counter(next(iter(said))[:3:2] for said in received.values())
        switched = {one: number for one, number in told.items() if one[0] == "rollback_switched"}
        assert set(switched.values()) == {1}, "one rollback was told under two keys"
        everyone = {one for (one,) in self._stored("SELECT id FROM rollbacks WHERE state = 'completed'")}
        assert {rollback for _, rollback in switched} == everyone

    async def audit_holds(self) -> None:
        """`watchdog audit verify`, with the test's provider known."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.recorded",
            "audit",
            "verify",
            "-c",
            str(self.daemon.config),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()

    async def close(self) -> None:
        """The end of a test: what is true of all waves together."""
        if self._life is not None and not self._life.over:
            await self._life.end()
        self.heard()
        await self.audit_holds()

    def picture(self) -> str:
        """How things stand, for whoever reads of a failure."""
        live = {
            name: f"{'+'.join(self.recorded.live(name))} {self.recorded.version(name)}" for name in self.names
        }
        states = self._stored("SELECT service, state FROM rollbacks ORDER BY at DESC")
        newest = dict(reversed(states))
        unsent = self._stored("SELECT key, state, doc FROM outbox WHERE state != 'sent' LIMIT 3")
        return (
            f"seed {self.seed}, tier {self.tier}, {self.lives.count} lives, bad version {self.version}\n"
            f"live: {live}\nrollbacks: {newest}\nunsent: {unsent}\n{self.said()}"
        )

    def said(self) -> str:
        """The end of the daemons' log."""
        return self.lives.log.read_text(errors="replace")[-3000:]

    # What is on the disk.

    def _stored(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Rows, beside a daemon or none; none while the store is not made, or is being recovered."""
        try:
            return self.daemon.stored(query, *values)
        except sqlite3.OperationalError:
            return []

    async def _until(self, query: str, names: set[str], what: str, *values: str) -> None:
        def there() -> bool:
            assert self._life is None or not self._life.over, self.said()
            return {name for (name,) in self._stored(query, *values)} == names

        await eventually(there, within=PATIENCE, every=0.03, what=what)

    async def _looked_at(self) -> None:
        """Wait until this daemon has read every switch again: a deployment begins at the last sight before it."""
        assert self._life is not None
        pid, since = self._life.pid, len(self.recorded.log)

        def seen() -> bool:
            reads = Counter(
                one.switch for one in self.recorded.log[since:] if one.who == pid and one.kind == "read"
            )
            return all(reads[name] >= 3 for name in self.names)

        await eventually(seen, within=PATIENCE, every=0.03, what="another look at every switch")
