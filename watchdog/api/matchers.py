"""Matchers of a posted silence: a name or a value that nothing has would be a silence of nothing, so it is a mistake.

This module must never let a matcher through that no message can have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from watchdog.api.bodies import PostedSilence
from watchdog.api.problem import Mistake
from watchdog.core.rule import Rule, Severity
from watchdog.core.silence import LABEL, LONGEST, NAMES
from watchdog.core.view import View
from watchdog.settings.registry import nearest


def matched(
    matchers: Mapping[str, str], view: View, rules: Mapping[str, Rule]
) -> tuple[dict[str, str], list[Mistake]]:
    """The matchers with `label.` before every label's name, and what is wrong with them."""
    labels: dict[str, set[str]] = {}
    for service in view.services.values():
        for name, value in service.labels.items():
            labels.setdefault(name, set()).add(value)
    known: dict[str, Collection[str]] = {
        "service": view.services,
        "environment": {service.environment for service in view.services.values()},
        "severity": [severity.value for severity in Severity],
        "rule": rules,
        "source": view.sources,
        **{f"{LABEL}{name}": values for name, values in labels.items()},
    }
    found: dict[str, str] = {}
    mistakes: list[Mistake] = []
    if not matchers:
        mistakes.append(Mistake(pointer="#/matchers", detail="must name at least one thing"))
    for written, value in matchers.items():
        name = f"{LABEL}{written}" if written in labels and written not in NAMES else written
        pointer = "#/matchers/" + written.replace("~", "~0").replace("/", "~1")
        if name not in NAMES and name not in known:
            mistakes.append(Mistake(pointer=pointer, detail=_unknown_name(written, labels)))
        elif name in known and value not in known[name]:
            mistakes.append(Mistake(pointer=pointer, detail=_unknown_value(name, value, known[name])))
        found[name] = value
    return found, mistakes


def _unknown_name(written: str, labels: Collection[str]) -> str:
    names = [*NAMES, *(f"{LABEL}{label}" for label in sorted(labels))]
    guess = nearest(written, names)
    hint = f"did you mean {guess!r}?" if guess else f"known are {', '.join(names)}"
    return f"no message has this; {hint}"


def _unknown_value(name: str, value: str, known: Collection[str]) -> str:
    guess = nearest(value, known)
    what = f"no service has this {name}" if name.startswith(LABEL) else f"there is no {name} {value!r}"
    return what + (f"; did you mean {guess!r}?" if guess else "")


def ending(body: PostedSilence, *, now: datetime) -> list[Mistake]:
    """What is wrong with the end of a silence: it has exactly one, ahead, and not too far."""
    if body.for_seconds is not None and body.ends_at is not None:
        return [Mistake(pointer="#/for_seconds", detail="stands beside ends_at; write one of the two")]
    if body.for_seconds is not None:
        return []
    if body.ends_at is None:
        return [Mistake(pointer="#/ends_at", detail="is required, or for_seconds: a silence has an end")]
    if body.ends_at <= now:
        return [Mistake(pointer="#/ends_at", detail="is over already")]
    if body.ends_at - now > LONGEST:
        return [Mistake(pointer="#/ends_at", detail=f"is more than {LONGEST.days} days away")]
    return []
