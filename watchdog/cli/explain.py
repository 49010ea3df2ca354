"""`watchdog explain ID`: why a decision was taken, replayed from its audit record alone.

Exit 0 when every replayed decision comes out as it was recorded, 1 when one does not.
"""

from __future__ import annotations

from typing import Any

import msgspec
import typer

from watchdog.cli.address import Address
from watchdog.cli.daemon import Daemon, Refused, talk
from watchdog.cli.failure import Failure
from watchdog.cli.output import say, say_json
from watchdog.core.audit import AuditRecord
from watchdog.core.guards import GUARDS, SKIPPED_FOR_PEOPLE
from watchdog.core.replay import Replayed, replay
from watchdog.telemetry.redact import one_line


def explain(identity: str, where: Address, *, as_json: bool) -> int:
    """Show and replay everything the record has on an incident or a rollback."""
    records = talk(_records(where, identity))
    if not records:
        raise Failure(f"the record has nothing on {identity!r}; see `watchdog incidents --all` for ids")
    replays = {record.seq: replayed for record in records if (replayed := replay(record)) is not None}
    if as_json:
        say_json(_as_json(identity, records, replays))
    else:
        _show(records, replays)
    return 0 if all(one.faithful for one in replays.values()) else 1


async def _records(where: Address, identity: str) -> list[AuditRecord]:
    """Every audit record on it, oldest first."""
    async with Daemon(where) as daemon:
        subject = await _subject(daemon, identity)
        found = await daemon.every("audit", subject=subject)
        rollbacks = await daemon.every("rollbacks", service=subject)
    ids = {identity} | {one["id"] for one in rollbacks if one["incident"] == identity}
    records = [msgspec.convert(one, AuditRecord) for one in found]
    return [record for record in reversed(records) if _concerns(record, ids)]


async def _subject(daemon: Daemon, identity: str) -> str:
    """The service (or source) that an incident or a rollback belongs to."""
    for kind, key in (("rollbacks", "service"), ("incidents", "subject")):
        try:
            one = await daemon.get(kind, identity)
        except Refused as refused:
            if refused.status != 404:
                raise
        else:
            return str(one.get(key) or one["service"])
    raise Failure(f"there is no incident and no rollback {identity!r}; see `watchdog incidents --all`")


def _concerns(record: AuditRecord, ids: set[str]) -> bool:
    named = (record.body.get("rollback"), record.body.get("incident"))
    return any((one.get("id") if isinstance(one, dict) else one) in ids for one in named)


def _show(records: list[AuditRecord], replays: dict[int, Replayed]) -> None:
    for record in records:
        say(
            f"{record.at:%Y-%m-%d %H:%M:%S.%f}"[:-3]
            + f"  {record.kind.replace('_', ' ')}  (record {record.seq})"
        )
        if record.seq in replays:
            for line in _lines(record, replays[record.seq]):
                _say_below(line)
        elif why := _why(record.body):
            _say_below(why)


def _say_below(line: str) -> None:
    typer.echo(f"    {one_line(line)}")


def _why(body: dict[str, Any]) -> str:
    """The sentence a record carries, if it carries one."""
    if change := body.get("change"):
        return f"{', '.join(change['away'])} away, {change['target']} live, from revision {change['expect']}"
    return str(body.get("why") or body.get("detail") or body.get("proof") or "")


def _lines(record: AuditRecord, replayed: Replayed) -> list[str]:
    lines = []
    if replayed.verdict is not None and replayed.rule is not None:
        observation = record.body["observation"]
        lines += [
            f"rule       {replayed.rule.name} ({replayed.rule.hash})",
            *(f"{name:<10} {observation[key]}" for name, key in _SEEN if observation.get(key)),
            f"verdict    {replayed.verdict.level} ({replayed.verdict.reason}): {replayed.verdict.explanation}",
        ]
    if replayed.facts is not None:
        lines += _guard_lines(replayed)
    lines.append(
        "replayed   " + ("the same again" if replayed.faithful else f"DIFFERS: {_difference(replayed)}")
    )
    return lines


_SEEN = (("asked", "asked"), ("answered", "answered"), ("detail", "detail"))


def _guard_lines(replayed: Replayed) -> list[str]:
    vetoes = {veto.guard: veto.detail for veto in replayed.vetoes}
    person = replayed.facts is not None and not replayed.facts.automatic
    asked = [name for name in GUARDS if not (person and name in SKIPPED_FOR_PEOPLE)]
    allowed = ", ".join(name for name in asked if name not in vetoes)
    lines = [f"guard      {name}: NO, {detail}" for name, detail in vetoes.items()]
    return [*lines, f"allowed    {allowed}"] if allowed else lines


def _difference(replayed: Replayed) -> str:
    if replayed.verdict != replayed.again and replayed.again is not None:
        return f"the verdict comes out as {replayed.again.level} ({replayed.again.reason})"
    if replayed.vetoes != replayed.vetoes_again:
        return "guards now say: " + ("; ".join(veto.detail for veto in replayed.vetoes_again) or "nothing")
    return "the rule's content is not the recorded one"


def _as_json(identity: str, records: list[AuditRecord], replays: dict[int, Replayed]) -> dict[str, Any]:
    items = []
    for record in records:
        item = msgspec.to_builtins(record)
        replayed = replays.get(record.seq)
        item["replayed"] = None if replayed is None else {"faithful": replayed.faithful}
        items.append(item)
    faithful = all(one.faithful for one in replays.values())
    return {"id": identity, "faithful": faithful, "replayed": len(replays), "items": items}
