"""The promises (design §9), judged from what happened outside and from what is on disk, never from what a daemon says.

Each breach is kept as a sentence that begins with the promise's name; the schedule that has any has failed. This
module must never touch anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.faults.machine_daemon import LIMITS, RULES_OF_THE_HOUSE, Disk
from tests.faults.machine_outside import BAD, NEEDED, WORSE_THAN_OK, Kind, Line, Outside, Sample
from watchdog.core.audit import AuditRecord, verify
from watchdog.core.incident import Incident, IncidentKind
from watchdog.core.message import MessageKind, Outgoing, OutgoingState
from watchdog.core.orphans import WHY as NOT_CONFIGURED
from watchdog.core.replay import replay
from watchdog.core.request import RequestKind
from watchdog.core.rollback import ENDS, Passage, Rollback, RollbackState
from watchdog.core.service import Mode
from watchdog.core.traffic import Tier
from watchdog.core.turn import Turn
from watchdog.store.codec import decode

if TYPE_CHECKING:
    from tests.faults.machine_daemon import Daemon

_S = RollbackState
#: What may be left when everything answers and nobody does anything: it is over, or a person has been told.
SETTLED = ENDS | {_S.BLOCKED, _S.AWAITING_APPROVAL}

#: Ends of what never moved traffic, after which nothing is left to tell: people heard that the incident is over, or
#: took the service out of the configuration themselves.
NOBODY_NEEDED = frozenset({NOT_CONFIGURED, "its incident is closed"})


class Promises:
    """The judge of one schedule. `broken` is empty while all promises hold."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside
        self.broken: list[str] = []
        self._effects: list[tuple[Line, Rollback, Disk, int]] = []
        """With the generation of the variant that was left."""
        self.seen_before = 0
        """Audit records that were there when the schedule began."""

    def _stored(self, disk: Disk, rollback: str) -> Rollback | None:
        row = disk.data.rollbacks.get(rollback)
        return None if row is None else decode(row["doc"], Rollback)

    def breach(self, what: str) -> None:
        self.broken.append(f"{what} (at {self.outside.loop.time():.3f})")

    # Writes

    def sent(self, daemon: Daemon, line: Line) -> None:
        """A daemon decided to write: everything it must have checked lies before this moment."""
        change = line.change
        assert change is not None
        who, seen = f"{daemon.name}", self._last_read(line)
        others = [one for one in self.outside.log if one.kind is Kind.SENT and one.who != who]
        if any(one.change is not None and one.change.mark == change.mark for one in others):
            self.outside.count("two daemons wrote the same rollback")
        if not line.attempt:
            self.breach(f"reads before it writes: {who} wrote outside of the executor")
            return
        if seen is None or seen.state is None:
            self.breach(f"reads before it writes: {who} wrote without a read in the same attempt")
            return
        if change.expect != seen.revision:
            self.breach(f"reads before it writes: read {seen.revision}, expects {change.expect}")
        rollback = self._stored(daemon.disk, change.mark)
        states = [state for _, state in daemon.disk.passages[change.mark]]
        if rollback is None or _S.INTENDED not in states:
            self.breach(f"intent on disk first: {change.mark} is {states}")
            return
        alone = not daemon.disk.copied and self.outside.tally["second daemon"] == 0
        if alone and rollback.state is not _S.INTENDED:
            self.breach(f"intent on disk first: wrote while {rollback.id} is {rollback.state}")
        for why in (
            *self._forbidden(daemon, line, rollback, seen),
            *self._no_target(daemon, line, rollback, seen),
        ):
            self.breach(f"{why}: {who} wrote {rollback.id}")

    def _last_read(self, sent: Line) -> Line | None:
        for line in reversed(self.outside.log):
            if line.number >= sent.number or (line.who, line.attempt) != (sent.who, sent.attempt):
                continue
            if line.kind is Kind.SENT:
                return None
            if line.kind is Kind.READ:
                return line
        return None

    def _forbidden(self, daemon: Daemon, line: Line, rollback: Rollback, seen: Line) -> Iterator[str]:
        """Why this may not be written. What was set and acknowledged before the read counts, unless lifted since."""
        outside = self.outside
        before, file_before, led = daemon.at_read[line.attempt]
        if before.paused and daemon.known.paused:
            yield "the human wins: paused by a request"
        if file_before and outside.pause_file:
            yield "the human wins: the pause file is there"
        if not led and not daemon.lease.is_leader:
            yield "only the leader acts"
        if seen.state is not None and seen.state.paused:
            yield "the human wins: the target is marked"
        if rollback.automatic and daemon.service.mode is Mode.OBSERVE:
            yield "mode observe only tells"
        if (
            rollback.automatic
            and daemon.service.mode is Mode.APPROVE
            and not self._approved(daemon, rollback)
        ):
            yield "mode approve asks first"
        if rollback.from_variant not in seen.live:
            yield f"never acts on another world: {rollback.from_variant} takes no traffic"

    def _no_target(self, daemon: Daemon, line: Line, rollback: Rollback, seen: Line) -> Iterator[str]:
        """Why nobody may be sent there."""
        outside, state, before = self.outside, seen.state, daemon.at_read[line.attempt][0]
        if rollback.to_version in before.tainted & daemon.known.tainted:
            yield f"never to a tainted version: {rollback.to_version}"
        if rollback.deployment in before.forbidden:
            yield "never where it is forbidden"
        target = state.variants[rollback.to_variant] if state is not None else None
        if target is None or target.ready is None or target.ready < NEEDED:
            yield f"never to a corpse: {target.ready if target else None} ready"
        if not self._was_stable(daemon, rollback):
            yield f"never to what was never stable: {rollback.to_version}"
        told = state.told(rollback.to_variant) if state is not None else None
        if told not in (None, rollback.to_version) and rollback.to_version not in outside.carried:
            yield f"never to another version: {rollback.to_variant} carries {told}"

    def _was_stable(self, daemon: Daemon, rollback: Rollback) -> bool:
        outside = self.outside
        named = rollback.to_version in outside.shares or rollback.to_version in outside.healthy
        versions = [rollback.to_version] if named else outside.ever[rollback.to_variant]
        outside.age()
        healthy = sum(outside.healthy[version] for version in versions)
        vouched = rollback.to_version in daemon.known.vouched
        return vouched or healthy >= RULES_OF_THE_HOUSE.soak.total_seconds() / 2

    def _approved(self, daemon: Daemon, rollback: Rollback) -> bool:
        return any(
            one.kind is RequestKind.APPROVE and one.target == rollback.incident
            for one in daemon.disk.asked.values()
        )

    def effect(self, daemon: Daemon, line: Line) -> None:
        """A write changed traffic."""
        change = line.change
        assert change is not None
        if change.target not in line.live or set(change.away) & set(line.live):
            self.breach(f"moves all of it: {line.live} after {change.target}")
        rollback = self._stored(daemon.disk, change.mark)
        if rollback is None:
            return  # told of when it was sent
        generation = self.outside.generation[rollback.from_variant]
        for earlier, other, disk, before in self._effects:
            if other.id == rollback.id:
                if not self._excused(earlier, line, disk, daemon.disk) and not self._unknowable(
                    earlier, line, daemon.disk, rollback
                ):
                    self.breach(f"at most once: {rollback.id} moved traffic twice")
            elif (
                rollback.automatic and other.automatic and not self._excused(earlier, line, disk, daemon.disk)
            ):
                if other.key == rollback.key:
                    self.breach(f"at most once: {rollback.key} by {other.id} and {rollback.id}")
                elif (other.from_variant, before) == (rollback.from_variant, generation):
                    self.breach(f"at most once: automatic, twice away from {rollback.from_version}")
        self._effects.append((line, rollback, daemon.disk, generation))
        self.outside.count(f"switched, tier {self.outside.tier}")
        self.outside.count("switched automatically" if rollback.automatic else "switched by request")

    def _moved_between(self, earlier: Line, later: Line) -> bool:
        return any(
            earlier.number < line.number < later.number and line.kind is Kind.MOVED
            for line in self.outside.log
        )

    def _excused(self, earlier: Line, later: Line, disk: Disk, own: Disk) -> bool:
        """Somebody moved traffic in between, and two stores know nothing of each other, or a write was late.

        Or he moved a part of it back: what was begun is finished, forward only.
        """
        moved = [
            line
            for line in self.outside.log
            if earlier.number < line.number < later.number and line.kind is Kind.MOVED
        ]
        if not moved:
            return False
        strangers = disk is not own and (disk.copied or own.copied)
        target = earlier.change.target if earlier.change is not None else ""
        return strangers or later.late or earlier.late or target in moved[-1].live

    def _unknowable(self, earlier: Line, later: Line, disk: Disk, rollback: Rollback) -> bool:
        """Tier B carries no mark: a write that nobody recorded, and that a person undid, cannot be told from none."""
        recorded = any(
            state == _S.APPLIED and earlier.at <= at <= later.at for at, state in disk.passages[rollback.id]
        )
        return self.outside.tier is Tier.B and not recorded and self._moved_between(earlier, later)

    # Transitions

    def committed(self, daemon: Daemon, turn: Turn) -> None:
        """A turn is on disk: each transition in it has its message in the same transaction, and its evidence."""
        disk, now = daemon.disk, self.outside.loop.time()
        for reply in turn.replies:
            self._acknowledged(daemon, reply.request, reply.status, reply.body)
        for rollback in turn.rollbacks:
            known = disk.passages[rollback.id]
            fresh = rollback.history[len(known) :]
            for passage in fresh:
                self._passed(daemon, turn, rollback, passage)
                known.append((now, passage.state))
        for incident in turn.incidents:
            self._incident(daemon, turn, incident)

    def _acknowledged(self, daemon: Daemon, request: str, status: int, body: dict[str, object]) -> None:
        asked = daemon.disk.asked.get(request)
        if asked is None or status >= 300:
            return
        version = str(asked.body.get("version") or "")
        for known in (daemon.known, daemon.disk.known):
            match asked.kind:
                case RequestKind.PAUSE:
                    known.paused = True
                case RequestKind.RESUME:
                    known.paused = False
                case RequestKind.TAINT:
                    known.tainted.add(version)
                case RequestKind.UNTAINT:
                    known.tainted.discard(version)
                case RequestKind.MARK_GOOD:
                    known.tainted.discard(version)
                    known.vouched.add(version)
                case RequestKind.DEPLOYMENT if asked.body.get("rollback") == "forbidden":
                    known.forbidden.add(str(body.get("id")))
        self.outside.count(f"acknowledged: {asked.kind}")

    def _passed(self, daemon: Daemon, turn: Turn, rollback: Rollback, passage: Passage) -> None:
        state, told = (
            passage.state,
            [row.message for row in turn.outbox if row.message.rollback == rollback.id],
        )
        self.outside.count(f"rollback {state}")
        kinds = {message.kind for message in told}
        came_from = [before for _, before in daemon.disk.passages[rollback.id]][-1:]
        if state is _S.APPLIED and MessageKind.ROLLBACK_SWITCHED not in kinds:
            self.breach(f"you will be told: nobody hears that {rollback.id} moved traffic")
        if state is _S.APPLIED:
            daemon.known.tainted.add(rollback.from_version)
            daemon.disk.known.tainted.add(rollback.from_version)
        if state is _S.COMPLETED and MessageKind.ROLLBACK_COMPLETED not in kinds:
            self.breach(f"you will be told: nobody hears that {rollback.id} is completed")
        if state in ENDS and state is not _S.COMPLETED and passage.why not in NOBODY_NEEDED:
            ended = [message for message in told if message.kind is MessageKind.ROLLBACK_ENDED]
            if not ended or not all(message.next_step for message in ended):
                keys = [row.key for row in turn.outbox]
                self.breach(f"you will be told: {rollback.id} is {state}, nobody hears what to do: {keys}")
        if state is _S.AWAITING_APPROVAL and MessageKind.APPROVAL_WANTED not in kinds:
            self.breach(f"you will be told: nobody is asked to approve {rollback.id}")
        if state is _S.INTENDED and rollback.automatic:
            self._within_limits(daemon, rollback)
        self._on_evidence(daemon, rollback, passage, came_from)

    def _on_evidence(
        self, daemon: Daemon, rollback: Rollback, passage: Passage, came_from: list[str]
    ) -> None:
        """Nothing begins, is confirmed or ends on silence."""
        state = passage.state
        begins = state is _S.AWAITING_APPROVAL or (
            state is _S.INTENDED and _S.AWAITING_APPROVAL not in came_from
        )
        if begins and rollback.automatic:
            self._enough_bad(daemon, rollback)
        if state is _S.COMPLETED and rollback.from_variant in self._last_seen(daemon):
            self.breach(f"the human wins: {rollback.id} is completed, and {rollback.from_variant} is live")
        if state is _S.COMPLETED and any(rule.name == "errors" for rule in rollback.rules):
            self._enough_good(daemon, rollback)
        if state is _S.INEFFECTIVE and not passage.why.startswith("traffic did not move"):
            self._measured_bad(daemon, rollback)

    def _last_seen(self, daemon: Daemon) -> tuple[str, ...]:
        """What took traffic when this daemon looked last."""
        reads = (
            line for line in reversed(self.outside.log) if line.kind is Kind.READ and line.who == daemon.name
        )
        return next((line.live for line in reads), ())

    def _within_limits(self, daemon: Daemon, rollback: Rollback) -> None:
        """The switches that this disk knows of. By whichever clock more time has passed: nobody can know of a clock
        that was set while he did not run.
        """
        policy = RULES_OF_THE_HOUSE
        switched = [
            (line, other)
            for line, other, disk, _ in self._effects
            if disk is daemon.disk
            and other.id != rollback.id
            and any(state == _S.APPLIED for _, state in disk.passages[other.id])
        ]
        if any(self._ago(line) < policy.cooldown for line, _ in switched):
            self.breach(f"limits: {rollback.id} within the cooldown")
        automatic = {other.id: line for line, other in switched if other.automatic}
        if len(automatic) >= policy.max_per_day:
            self.breach(f"limits: {rollback.id} is the fourth of the day")
        if sum(self._ago(line) < LIMITS.per for line in automatic.values()) >= LIMITS.max_rollbacks:
            self.breach(f"limits: {rollback.id} is one more than {LIMITS.max_rollbacks} in {LIMITS.per}")

    def _ago(self, line: Line) -> timedelta:
        outside = self.outside
        return max(timedelta(seconds=outside.loop.time() - line.at), outside.wall() - line.wall)

    # Evidence

    def _samples(self, versions: list[str], *, since: float) -> list[Sample]:
        return [
            one for one in self.outside.samples if one.version in versions and one.sampled >= since - 0.001
        ]

    def _enough_bad(self, daemon: Daemon, rollback: Rollback) -> None:
        """Two scrapes at least that were bad; silence is not one."""
        since = 0.0 if daemon.was_frozen else self.outside.loop.time() - 60
        found = self._samples(self.outside.ever[rollback.from_variant], since=since)
        if len({one.sampled for one in found if one.share > BAD}) < 2:
            self.breach(f"silence is no failure: {rollback.id} begins on {len(found)} samples")

    def _enough_good(self, daemon: Daemon, rollback: Rollback) -> None:
        applied = self._applied_at(daemon.disk, rollback)
        if self.outside.tally["clock set"]:  # perhaps while nobody ran: when it was applied is not known then
            applied -= self.outside.scrape
        found = self._samples(self.outside.ever[rollback.to_variant], since=applied)
        if len({one.sampled for one in found if one.share <= WORSE_THAN_OK}) < 2:
            self.breach(f"silence is no health: {rollback.id} is completed on {len(found)} samples")

    def _measured_bad(self, daemon: Daemon, rollback: Rollback) -> None:
        applied = self._applied_at(daemon.disk, rollback)
        found = self._samples(self.outside.ever[rollback.to_variant], since=applied)
        if not any(one.share > WORSE_THAN_OK for one in found):
            self.breach(f"silence is no failure: {rollback.id} is ineffective on {len(found)} samples")

    def _applied_at(self, disk: Disk, rollback: Rollback) -> float:
        effects = [line.at for line, other, _, _ in self._effects if other.id == rollback.id]
        recorded = [at for at, state in disk.passages[rollback.id] if state == _S.APPLIED]
        return min([*effects, *recorded], default=0.0)

    def _incident(self, daemon: Daemon, turn: Turn, incident: Incident) -> None:
        disk, now = daemon.disk, self.outside.loop.time()
        told = {row.message.kind for row in turn.outbox if row.message.incident == incident.id}
        known = disk.incidents.get(incident.id)
        if known is None:
            disk.incidents[incident.id] = (now, "open")
            self.outside.count(f"incident {incident.kind}")
            if incident.open and MessageKind.INCIDENT_OPENED not in told:
                self.breach(f"you will be told: nobody hears of {incident.id}")
            if incident.kind is IncidentKind.BREACH:
                since = 0.0 if daemon.was_frozen else now - 60
                worse = [
                    one for one in self.outside.samples if one.share > WORSE_THAN_OK and one.sampled >= since
                ]
                if len({one.sampled for one in worse}) < 2:
                    self.breach(f"silence is no failure: {incident.id} opened on {len(worse)} bad samples")
        if incident.open or (known is not None and known[1] == "closed"):
            return
        opened = known[0] if known is not None else now
        disk.incidents[incident.id] = (opened, "closed")
        if MessageKind.INCIDENT_CLOSED not in told:
            self.breach(f"you will be told: nobody hears that {incident.id} is closed")
        if incident.closed_because == "every check is ok again":
            fine = [one for one in self.outside.samples if one.share < 0.5 and one.at >= opened]
            if len({one.sampled for one in fine}) < 2:
                self.breach(f"silence is no health: {incident.id} closed on {len(fine)} good samples")

    # At the end

    def settled(self, disk: Disk) -> list[str]:
        """What still goes on; empty when every rollback is over or waits for a person."""
        return [f"{one.id} is {one.state}" for one in rollbacks(disk) if one.state not in SETTLED]

    def waiting(self, disk: Disk) -> bool:
        """Whether a message is due, or soon will be."""
        rows = (
            decode(row["doc"], Outgoing) for row in disk.data.outbox.values() if row["state"] == "pending"
        )
        return any(not self._later(row) for row in rows)

    def _later(self, row: Outgoing) -> bool:
        """Whether a message waits for the time that a clock showed before it was set back."""
        return bool(self.outside.tally["clock set"]) and row.due_at > self.outside.wall() + timedelta(
            minutes=6
        )

    def final(self, disk: Disk, *, delivered: bool) -> None:
        """Everything that must hold of a disk; `delivered`: its daemon had time to send what was due."""
        records = [decode(row["doc"], AuditRecord) for row in disk.data.audit]
        _, fault = verify(records)
        if fault is not None:
            self.breach(f"every decision can be explained: record {fault.seq} {fault.why}")
        for record in records[self.seen_before :]:
            again = replay(record)
            if again is not None and not again.faithful:
                self.breach(
                    f"every decision can be explained: {record.seq} {record.kind} comes out otherwise"
                )
        outbox = [decode(row["doc"], Outgoing) for row in disk.data.outbox.values()]
        self._told_of_waiting(disk, outbox)
        if delivered:
            self._delivered(outbox)

    def _told_of_waiting(self, disk: Disk, outbox: list[Outgoing]) -> None:
        for rollback in rollbacks(disk):
            if rollback.state is not _S.BLOCKED:
                continue
            limited = any(veto.guard == "breaker" for veto in rollback.vetoes)
            told = any(
                row.message.rollback == rollback.id
                or (limited and row.message.kind is MessageKind.BREAKER_OPEN)
                for row in outbox
            )
            if not told:
                self.breach(f"you will be told: {rollback.id} is blocked and nobody knows")

    def _delivered(self, outbox: list[Outgoing]) -> None:
        for row in outbox:
            people = self.outside.channels[row.channel]
            if row.state is OutgoingState.PENDING and not self._later(row):
                self.breach(f"you will be told: {row.key} still waits: {row.last_error}")
            elif row.state is OutgoingState.SENT and row.key not in people.heard | self.outside.heard_before:
                self.breach(f"you will be told: {row.key} counts as sent and never arrived")
            elif row.state is OutgoingState.DEAD and not people.refused_some:
                self.breach(f"you will be told: {row.key} was given up: {row.last_error}")
        if self.outside.tally["second daemon: copied store"]:
            return  # two stores, two histories: one key may mean two things
        for people in self.outside.channels.values():
            for key, texts in people.attempts.items():
                if len(texts) > 1 and "store_failed" not in key:
                    self.breach(f"stable keys: {key} was sent with different contents")


def rollbacks(disk: Disk) -> list[Rollback]:
    """As they are on disk."""
    return [decode(row["doc"], Rollback) for row in disk.data.rollbacks.values()]
