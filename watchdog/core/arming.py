"""Whether a rule has proved on history that it may act by itself, where a service asks for that.

What was proved is compiled from back-test records by `watchdog.config.arming`. This module must never read a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from watchdog.core.rule import Rule


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one rule on one service: `judgement` is that of the rule that was looked at.

    `reason` says why that is not enough, for programs, and `detail` for people; both are empty where it is, up to
    `until` (for ever where that is `None`).
    """

    judgement: str
    reason: str = ""
    detail: str = ""
    until: datetime | None = None


def unproven(proofs: Mapping[str, Proof] | None, rule: Rule, *, now: datetime) -> tuple[str, str]:
    """Why a rule may not act by itself, as reason and words; empty where it may, or where nothing is asked for.

    An incident keeps the rule it was opened with: a proof of the one that took its place is none of it.
    """
    if proofs is None:
        return "", ""
    proof = proofs.get(rule.name)
    if proof is None:
        return "never_backtested", f"{rule.name} was never back-tested on this service"
    if proof.judgement != rule.judgement:
        words = (
            "the incident keeps the rule that it was opened with, which is another one than was back-tested"
        )
        return "changed_since", f"{rule.name}: {words}"
    if proof.reason:
        return proof.reason, proof.detail
    if proof.until is not None and now > proof.until:
        return "too_old", f"the last back-test of {rule.name} counted until {proof.until:%Y-%m-%d %H:%M} UTC"
    return "", ""
