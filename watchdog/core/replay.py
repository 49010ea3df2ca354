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
from watchdog.core.guards import BEFORE_WRITE, GUARDS, GuardFacts, ask
from watchdog.core.observation import Observation
from watchdog.core.rollback import Veto
from watchdog.core.rule import Rule

#: Kinds of records that carry a whole decision.
DECISIONS = (
    "incident_opened",
    "incident_worsened",
    "rollback_blocked",
    "rollback_intended",
    "approval_asked",
    "approval_vetoed",
    "rollback_request_refused",
    "rollback_applied",
)


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as recorded and as it comes out again. `faithful`: nothing differs; `facts`: of guards, if asked."""

    record: AuditRecord
    faithful: bool
    verdict: Verdict | None = None
    again: Verdict | None = None
    rule: Rule | None = None
    facts: GuardFacts | None = None
    vetoes: tuple[Veto, ...] = ()
    vetoes_again: tuple[Veto, ...] = ()


def replay(record: AuditRecord) -> Replayed | None:
    """Replay one record; `None` when it carries no decision.

    Raises `msgspec.ValidationError` for a record of another release that can no longer be read.
    """
    if record.kind not in DECISIONS:
        return None
    seen, asked = _replay_verdict(record.body), _replay_guards(record)
    if seen is None and asked is None:
        return None
    verdict, again, rule = seen or (None, None, None)
    facts, vetoes, vetoes_again = asked or (None, (), ())
    same_rule = rule is None or rule.hash == record.body.get("rule_hash")
    return Replayed(
        record=record,
        faithful=verdict == again and vetoes == vetoes_again and same_rule,
        verdict=verdict,
        again=again,
        rule=rule,
        facts=facts,
        vetoes=vetoes,
        vetoes_again=vetoes_again,
    )


def _replay_verdict(body: dict[str, Any]) -> tuple[Verdict, Verdict, Rule] | None:
    """The verdict as recorded and as it comes out again; `None` for a decision without an observation."""
    if "observation" not in body:
        return None
    rule: Rule = _read(body["rule"], Rule)
    again = evaluate(
        rule,
        _read(body["before"], CheckState),
        _read(body["observation"], Observation),
        now=_read(body["arrived_at"], datetime),
    ).verdict
    return _read(body["verdict"], Verdict), again, rule


def _replay_guards(record: AuditRecord) -> tuple[GuardFacts, tuple[Veto, ...], tuple[Veto, ...]] | None:
    """The vetoes as recorded and as they come out again; `None` for a decision that asked no guards."""
    if record.body.get("facts") is None:
        return None
    facts: GuardFacts = _read(record.body["facts"], GuardFacts)
    before_write = record.kind == "rollback_applied" or "when" in record.body
    again = ask(facts, BEFORE_WRITE if before_write else tuple(GUARDS))
    if record.kind == "approval_asked":  # the one veto an approval is there to lift
        again = tuple(veto for veto in again if veto.reason != "not_approved")
    return facts, tuple(_read(one, Veto) for one in record.body.get("vetoes", ())), again


def _read(value: Any, kind: Any) -> Any:
    return msgspec.convert(value, kind)
