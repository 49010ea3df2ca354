"""Replays a decision from its audit record alone: the same evaluation and the same guards must say the same again.

This module must never look anywhere but into the record.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from watchdog.core.audit import AuditRecord
from watchdog.core.check import CheckState, Verdict
from watchdog.core.evaluate import evaluate
from watchdog.core.guards import GuardFacts, ask
from watchdog.core.observation import Observation
from watchdog.core.rollback import Veto
from watchdog.core.rule import Rule

#: Kinds of records that carry a whole decision.
DECISIONS = ("rollback_blocked", "rollback_intended", "approval_asked")


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as recorded and as it comes out again. `faithful`: nothing differs."""

    record: AuditRecord
    faithful: bool
    verdict: Verdict | None = None
    again: Verdict | None = None
    rule: Rule | None = None
    facts: GuardFacts | None = None
    vetoes: tuple[Veto, ...] = ()
    vetoes_again: tuple[Veto, ...] = ()


def replay(record: AuditRecord) -> Replayed | None:
    """Replay one record; `None` when it carries no decision. Raises `msgspec.ValidationError` for a record of another
    release that can no longer be read."""
    body = record.body
    if record.kind not in DECISIONS or "facts" not in body:
        return None
    facts = _read(body["facts"], GuardFacts)
    recorded = tuple(_read(one, Veto) for one in body.get("vetoes", ()))
    vetoes = ask(facts)
    faithful = vetoes == recorded or (record.kind == "approval_asked" and _only_approval(vetoes))
    if "observation" not in body:
        return Replayed(record=record, faithful=faithful, facts=facts, vetoes=recorded, vetoes_again=vetoes)
    rule = _read(body["rule"], Rule)
    verdict = _read(body["verdict"], Verdict)
    again = evaluate(
        rule,
        _read(body["before"], CheckState),
        _read(body["observation"], Observation),
        now=_read(body["arrived_at"], datetime),
    ).verdict
    return Replayed(
        record=record,
        faithful=faithful and again == verdict and rule.hash == body.get("rule_hash"),
        verdict=verdict,
        again=again,
        rule=rule,
        facts=facts,
        vetoes=recorded,
        vetoes_again=vetoes,
    )


def _only_approval(vetoes: tuple[Veto, ...]) -> bool:
    return [veto.reason for veto in vetoes] == ["not_approved"]


def _read(value: Any, kind: Any) -> Any:
    return msgspec.convert(value, kind)
