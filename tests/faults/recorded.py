"""A traffic switch whose state lives in the test, and which writes down everything that is done to it.

The daemon has the provider (`kind: recorded`, known only where `register` was called); the state, the transition log
and all faults are here, behind a unix socket, so that they outlive every death of the daemon. The log is the judge: who
read which revision, who wrote, what it carried and what came of it. Nobody asks the daemon what it believes it did.

    async with Recorded() as recorded:
        recorded.add("trips", tier=Tier.A, live="blue", versions={"blue": "v1", "green": "v1"})
        recorded.move("trips", "green", version="v2")                 # a deploy job
        settings["traffic"] = recorded.settings("trips")
        ...
        assert recorded.faults() == []
        assert [entry.after for entry in recorded.moves("trips")] == [("green",), ("blue",)]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.faults.socket_proxy import Deed
from watchdog.aio.clock import Clock, SystemClock
from watchdog.cli.main import main
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Change, Tier, TrafficState, VariantState
from watchdog.settings.model import ProviderSettings
from watchdog.traffic.registry import KINDS

#: Whoever is not a daemon: the test itself, as a deploy job or a person.
OUTSIDE: Final = 0
_ON: Final = 100


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the log.

    `kind` is `read`, `look` (the read of tier B within a write, which proves nothing about the executor), `write` or
    `move` (somebody else's change). `who` is the process, `task` the name of the task there (`executor:ID` is the
    executor's). `expect` is the revision a write carried, `revision` the one it met, or the one that a read was given.
    `before` and `after` are the variants that took traffic. `verdict` is `done`, `in place` (nothing to change),
    `rejected` (it names no such variant), `stale` or `unread` (refused on tier A; done on tier B all the same).
    """

    number: int
    at: float
    kind: str
    switch: str
    who: int
    task: str = ""
    expect: str = ""
    revision: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    mark: str = ""
    epoch: int = 0
    verdict: str = "done"

    @property
    def moved(self) -> bool:
        """Whether traffic goes elsewhere than before."""
        return self.before != self.after

    @property
    def by_executor(self) -> bool:
        return self.task.startswith("executor:")


@dataclass
class _Spot:
    weight: int
    version: str
    ready: int = 1
    requests: int | None = None


@dataclass
class _Object:
    """One switched object."""

    tier: Tier
    spots: dict[str, _Spot]
    number: int = 1
    mark: str | None = None
    read: dict[int, set[str]] = field(default_factory=dict)
    """By process, the revisions it was given."""

    @property
    def revision(self) -> str:
        return f"r{self.number}"

    @property
    def live(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, spot in self.spots.items() if spot.weight))

    def shown(self) -> dict[str, Any]:
        return {
            "revision": self.revision,
            "mark": self.mark,
            "variants": {
                name: {
                    "weight": one.weight,
                    "version": one.version,
                    "ready": one.ready,
                    "requests": one.requests,
                }
                for name, one in self.spots.items()
            },
        }


class Recorded:
    """All switched objects of a test, and their log; listens from `__aenter__` to `__aexit__`.

    `judge` says what to do with a call: PASS, HOLD (until `release` or `drop`: it comes late, or never), MUTE (done,
    and never answered), CUT (done, and hung up), REFUSE (hung up at once). `at` is called with every line of the log.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="wd-", dir="/tmp"))
        self.socket = self._folder / "recorded.sock"
        self.log: list[Entry] = []
        self.held: list[dict[str, Any]] = []
        self.judge: Callable[[dict[str, Any]], Deed] = lambda _: Deed.PASS
        self.at: Callable[[Entry], None] = lambda _: None
        self._objects: dict[str, _Object] = {}
        self._released = asyncio.Event()
        self._dropped = False
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    # What a test does.

    def add(self, name: str, *, tier: Tier, live: str, versions: Mapping[str, str]) -> None:
        """A switched object with these variants, of which one takes all traffic."""
        spots = {one: _Spot(_ON if one == live else 0, version) for one, version in versions.items()}
        self._objects[name] = _Object(tier=tier, spots=spots)

    def settings(self, name: str, *, timeout: str = "30s") -> dict[str, Any]:
        """The configuration of a service's traffic switch."""
        tier = self._objects[name].tier.value
        return {
            "kind": "recorded",
            "socket": str(self.socket),
            "object": name,
            "tier": tier,
            "timeout": timeout,
        }

    def move(self, name: str, live: str, *, version: str | None = None) -> None:
        """What a deploy job or a person does: this variant takes all traffic, and runs that version."""
        target = self._objects[name]
        before = target.live
        for variant, spot in target.spots.items():
            spot.weight = _ON if variant == live else 0
        if version is not None:
            target.spots[live].version = version
        target.number += 1
        target.mark = None
        self._note("move", name, who=OUTSIDE, before=before)

    def observe(self, name: str, variant: str, *, ready: int, requests: int) -> None:
        """What changes by itself, and is no part of the revision."""
        spot = self._objects[name].spots[variant]
        spot.ready, spot.requests = ready, requests

    def live(self, name: str) -> tuple[str, ...]:
        """The variants that take traffic."""
        return self._objects[name].live

    def version(self, name: str) -> str:
        """The version that takes all traffic; empty when several variants do, or none."""
        found = [spot.version for spot in self._objects[name].spots.values() if spot.weight]
        return found[0] if len(found) == 1 else ""

    def mark(self, name: str) -> str | None:
        """What the last write left in the object (tier A)."""
        return self._objects[name].mark

    def release(self) -> None:
        """What is held goes on its way, also when whoever asked is dead; nothing more is held."""
        self._let_go(dropped=False)

    def drop(self) -> None:
        """What is held is lost, and nothing more is held."""
        self._let_go(dropped=True)

    # What the log says.

    def writes(self, name: str, *, since: int = 0) -> list[Entry]:
        """Every write of a daemon from this line of the log on, whatever came of it."""
        return [one for one in self.log[since:] if one.kind == "write" and one.switch == name]

    def moves(self, name: str, *, since: int = 0) -> list[Entry]:
        """Every change of what takes traffic, a daemon's or another's."""
        return [one for one in self.log[since:] if one.switch == name and one.moved]

    def faults(self, *, since: int = 0) -> list[str]:
        """Writes of a daemon that break a promise, whether or not they did harm.

        A write is by the executor; it carries the revision which that same task read last; and nothing was written by
        that task since it read.
        """
        found = []
        known: dict[tuple[int, str, str], str] = {}
        for one in self.log[since:]:
            place = (one.who, one.task, one.switch)
            if one.kind == "read":
                known[place] = one.revision
            if one.kind != "write":
                continue
            if not one.by_executor:
                found.append(f"written by {one.task!r}: {one}")
            if known.pop(place, None) != one.expect:
                found.append(f"written without having read that revision: {one}")
        return found

    # The server.

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.socket)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()
        if self._server is not None:
            self._server.close()
        for conversation in list(self._conversations):
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _let_go(self, *, dropped: bool) -> None:
        self.judge = lambda _: Deed.PASS
        self._dropped = dropped
        self._released.set()
        self._released = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        try:
            line = await reader.readline()
            if line.endswith(b"\n"):  # half a call, of somebody who died in the middle of it, is none
                await self._carry(json.loads(line), writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the daemon is dead, or the test is over
        finally:
            self._conversations.discard(task)
            writer.transport.abort()

    async def _carry(self, call: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        deed = self.judge(call)
        if deed is Deed.HOLD:
            self.held.append(call)
            released = self._released
            await released.wait()
            if self._dropped:
                return
        if deed is Deed.REFUSE:
            return
        answer = self._obey(call)
        if deed is Deed.MUTE:
            self.held.append(call)
            await self._released.wait()
            return
        if deed is Deed.CUT:
            self.held.append(call)
            return
        writer.write(json.dumps(answer).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    def _obey(self, call: dict[str, Any]) -> dict[str, Any]:
        name, who, task = call["object"], call["who"], call["task"]
        target = self._objects[name]
        before = target.live
        if call["kind"] != "write":
            target.read.setdefault(who, set()).add(target.revision)
            self._note(call["kind"], name, who=who, task=task, before=before)
            return {"ok": True, **target.shown()}
        met, verdict = target.revision, self._write(target, call)
        self._note(
            "write",
            name,
            who=who,
            task=task,
            before=before,
            expect=call["expect"],
            revision=met,
            mark=call["mark"],
            epoch=call["epoch"],
            verdict=verdict,
        )
        refused = verdict == "rejected" or (target.tier is Tier.A and verdict in {"stale", "unread"})
        target.read.setdefault(who, set()).add(target.revision)  # the answer is a read-back
        return {"ok": not refused, "verdict": verdict, "met": met, **target.shown()}

    def _write(self, target: _Object, call: dict[str, Any]) -> str:
        """Do it, as far as the tier allows; answers the verdict."""
        named = {call["target"], *call["away"]}
        if not named <= target.spots.keys() or call["target"] in call["away"]:
            return "rejected"
        if target.live == (call["target"],):
            return "in place"
        verdict = "done"
        if call["expect"] != target.revision:
            verdict = "stale"
        elif call["expect"] not in target.read.get(call["who"], ()):
            verdict = "unread"
        if verdict != "done" and target.tier is Tier.A:
            return verdict
        for variant, spot in target.spots.items():
            spot.weight = _ON if variant == call["target"] else 0
        target.number += 1
        target.mark = call["mark"] if target.tier is Tier.A else None
        return verdict

    def _note(self, kind: str, name: str, *, who: int, before: tuple[str, ...], **more: Any) -> None:
        target = self._objects[name]
        facts = {"revision": target.revision, **more}
        entry = Entry(
            number=len(self.log),
            at=time.monotonic(),
            kind=kind,
            switch=name,
            who=who,
            before=before,
            after=target.live,
            **facts,
        )
        self.log.append(entry)
        self.at(entry)


class RecordedSettings(ProviderSettings):
    """`traffic: {kind: recorded, …}`, in a daemon of a test only."""

    socket: Path
    object: str
    tier: Tier


class RecordedSwitch:
    """The daemon's end. Keeps what `watchdog.traffic.interface` promises."""

    Settings = RecordedSettings

    def __init__(self, settings: RecordedSettings, *, name: str, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._where = f"the recorded switch {settings.object} of service {name}"

    @staticmethod
    def knows_readiness(_: RecordedSettings) -> bool:
        return True

    @property
    def tier(self) -> Tier:
        return self._settings.tier

    @property
    def identity(self) -> str:
        return f"recorded:{self._settings.socket}:{self._settings.object}"

    async def read(self) -> TrafficState:
        return await self._read("read")

    async def apply(self, change: Change) -> TrafficState:
        if self.tier is Tier.B:
            state = await self._read("look")
            done = state.live == (change.target,)
            if not done and state.revision != change.expect:
                raise SwitchConflict(f"{self._where} is at {state.revision}, not {change.expect}")
        call = {
            "kind": "write",
            "target": change.target,
            "away": change.away,
            "expect": change.expect,
            "mark": change.mark,
            "epoch": change.epoch,
        }
        answer = await self._call(call)
        if not answer["ok"]:
            kind = SwitchRejected if answer["verdict"] == "rejected" else SwitchConflict
            raise kind(f"{self._where}: {answer['verdict']}, it is at {answer['met']}")
        return self._state(answer)

    async def inspect(self) -> str | None:
        return None

    async def aclose(self) -> None:
        """No connection outlives its call."""

    async def _read(self, kind: str) -> TrafficState:
        try:
            return self._state(await self._call({"kind": kind}))
        except SwitchUnknown as error:
            raise SwitchUnreachable(str(error)) from error

    async def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        task = asyncio.current_task()
        call |= {
            "object": self._settings.object,
            "who": os.getpid(),
            "task": task.get_name() if task else "",
        }
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                return await self._exchange(call)
        except TimeoutError:
            raise SwitchUnknown(f"{self._where} did not answer in time") from None

    async def _exchange(self, call: dict[str, Any]) -> dict[str, Any]:
        try:
            reader, writer = await asyncio.open_unix_connection(self._settings.socket)
        except OSError as error:
            raise SwitchUnreachable(f"{self._where} is not there: {error}") from error
        try:
            writer.write(json.dumps(call).encode() + b"\n")
            await writer.drain()
            line = await reader.readline()
        except OSError as error:
            raise SwitchUnknown(f"{self._where} hung up: {error}") from error
        finally:
            writer.close()
        if not line.endswith(b"\n"):
            raise SwitchUnknown(f"{self._where} hung up without an answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _state(self, answer: dict[str, Any]) -> TrafficState:
        return TrafficState(
            variants={name: VariantState(total=1, **one) for name, one in answer["variants"].items()},
            revision=answer["revision"],
            read_at=self._clock.now(),
            mark=answer["mark"],
        )


def register() -> None:
    """Make `kind: recorded` known in this process. Never called by the product."""
    KINDS["recorded"] = "tests.faults.recorded:RecordedSwitch"


if __name__ == "__main__":
    # The command `watchdog` with this provider: `python -m tests.faults.recorded audit verify -c FILE`.
    register()
    main()
