"""Whether an answer is a watchdog's: another program on the same port answers JSON, too.

This module must never judge more than that the keys are there which commands read.
"""

from __future__ import annotations

from typing import Any

import msgspec

from watchdog.api import outbox_shapes, shapes

_RECORDS: dict[str, type[shapes.Shape]] = {
    "status": shapes.Status,
    "services": shapes.Service,
    "deployments": shapes.Deployment,
    "incidents": shapes.Incident,
    "rollbacks": shapes.Rollback,
    "silences": shapes.Silence,
    "rules": shapes.Rule,
    "outbox": outbox_shapes.OutboxEntry,
    "audit": shapes.AuditEntry,
}
#: What the answers to requests hold at least, by the end of their path.
_WORD = {"service", "version", "taint", "states"}
_ANSWERS = {
    "pause": {"service", "paused"},
    "resume": {"service", "paused"},
    "gitops/resume": {"service", "resumed", "warning"},
    "taint": _WORD,
    "untaint": _WORD,
    "mark-good": _WORD,
}


def is_record(noun: str, answer: Any) -> bool:
    """Whether this can be the record that `GET /api/v1/NOUN/ID` (or `GET /api/v1/status`) shows."""
    fields = {field.encode_name for field in msgspec.structs.fields(_RECORDS[noun])}
    return isinstance(answer, dict) and fields <= set(answer)


def is_page(noun: str, answer: Any) -> bool:
    """Whether this can be a page of `GET /api/v1/NOUN`."""
    if not isinstance(answer, dict) or not {"items", "next"} <= set(answer):
        return False
    items, following = answer["items"], answer["next"]
    if not isinstance(items, list) or not (following is None or isinstance(following, str)):
        return False
    return all(is_record(noun, item) for item in items)


def is_outcome(path: tuple[str, ...], answer: Any) -> bool:
    """Whether this can answer a request that was made at this path below /api/v1."""
    wanted = _ANSWERS.get("/".join(path[-2:])) or _ANSWERS.get(path[-1], {"id"})
    return isinstance(answer, dict) and wanted <= set(answer)
