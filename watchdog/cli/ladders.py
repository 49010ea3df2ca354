"""Who heard of an incident and who is told next, in words."""

from __future__ import annotations

from typing import Any

#: What is due next, in words; `{to}` are the channels.
_NEXT = {
    "step": "{to} at {at}",
    "repeat": "everybody again at {at}",
    "left": "left to the weekly report at {at}",
    "report": "weekly report to {to} at {at}",
    "reminder": "a reminder at {at}",
    "expired": "its ladder begins again at {at}",
}


def told(one: dict[str, Any]) -> list[tuple[str, str]]:
    """Lines about an incident: who heard of it, who is next, and until when somebody has it. Empty values are none."""
    climb = one.get("climb")
    if not climb:
        return []
    policy = f" of {climb['policy']}" if climb["policy"] else ""
    again = f", told again {climb['repeats']} time{'s'[: climb['repeats'] != 1]}" if climb["repeats"] else ""
    heard = ", ".join(climb["heard_by"]) or "nobody"
    return [
        ("told", f"{heard} (step {climb['step']} of {climb['steps']}{policy}{again})"),
        ("told next", coming(one)),
        ("held until", climb["acknowledged_until"] or ""),
    ]


def coming(one: dict[str, Any]) -> str:
    """Who is told next, and when; empty when nobody is."""
    climb = one.get("climb")
    if not climb or one["closed_at"]:
        return ""
    if climb["next"]:
        return _NEXT[climb["next"]].format(to=", ".join(climb["next_to"]), at=climb["next_at"])
    return "up to a channel that tells people by itself" if climb["delegated"] else ""
