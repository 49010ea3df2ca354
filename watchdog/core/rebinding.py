"""What an incident waits for when versions change under it: the target after a switch, the bad one when it is undone.

Works on a draft. This module must never close anything; `watchdog.core.judging` does when every check is ok again.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchdog.core.checks import away, bound
from watchdog.core.draft import Draft
from watchdog.core.incident import Breach
from watchdog.core.rollback import Rollback

_UNDONE = "the switch away from it was undone"


def to_target(draft: Draft, rollback: Rollback) -> None:
    """The incident's breaches of the version that was taken away now wait for the target version."""
    incident = draft.service.incidents.get(rollback.incident or "")
    if incident is None:
        return
    breaches: dict[str, Breach] = {}
    for key, breach in incident.breaches.items():
        if breach.over or not breach.rule.per_version or breach.version != rollback.from_version:
            breaches[key] = breach
        else:
            why = f"bad on {rollback.from_version}; waits for {rollback.to_version} to prove ok"
            breaches[str(bound(breach.rule, rollback))] = replace(
                breach, version=rollback.to_version, value=None, reason=why
            )
    draft.set_incident(replace(incident, breaches=breaches))


def back(draft: Draft, rollback: Rollback) -> None:
    """The bad version is live again: the incident waits for it as before, whatever the target showed meanwhile."""
    incident = draft.service.incidents.get(rollback.incident or "")
    if incident is None or rollback.applied_at is None:
        return
    breaches: dict[str, Breach] = {}
    for key, breach in incident.breaches.items():
        ended_at = breach.cleared_at or breach.retired_at
        if ended_at is not None and ended_at < rollback.applied_at:
            breaches[key] = breach
            continue
        again = replace(breach, cleared_at=None, retired_at=None)
        if breach.rule.per_version and key == str(bound(breach.rule, rollback)):
            before = str(away(breach.rule, rollback))
            breaches[before] = replace(again, version=rollback.from_version, value=None, reason=_UNDONE)
        else:
            _clear_anew(draft, key)
            breaches[key] = again
    draft.set_incident(replace(incident, breaches=breaches))
    draft.note("incident_goes_on", incident=incident.id, rollback=rollback.id, checks=sorted(breaches))


def _clear_anew(draft: Draft, key: str) -> None:
    """Clear samples from while the bad version was away say nothing about it."""
    for check, state in list(draft.service.checks.items()):
        if str(check) == key:
            draft.set_check(check, replace(state, clears=0), store=True)
