"""What a person does about a rollback: at each end, at each guard that stops it, and to take it back.

Every command stands at the end of its clause, so that it can be copied as it is; TEXT and VERSION are for the reader
to fill in. Builds sentences only. This module must never advise what the guards would refuse a person.
"""

from __future__ import annotations

from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.service import Service

#: What a person should do about each end of a rollback.
NEXT_STEPS = {
    RollbackState.COMPLETED: "Traffic stays on {target}. Find out what is wrong with {version} before it is deployed "
    "again; it is tainted, so no rollback goes there. {undo}",
    RollbackState.INEFFECTIVE: "The cause is not this deployment, or the old version is bad too. Look at what both "
    "versions share; traffic stays where it is until somebody moves it.",
    RollbackState.UNVERIFIED: "Check by hand whether the service recovered: it could not be measured after the switch.",
    RollbackState.CONTESTED: "Find who moves traffic back (a deploy job, a reload of the proxy, GitOps) and stop it, "
    "then: watchdog rollback {service} --reason TEXT.",
    RollbackState.SUPERSEDED: "Somebody or something else moves traffic. Nothing more is done; see what is live now: "
    "watchdog status {service}",
    RollbackState.PARTIAL: "Traffic is split, or nobody could read where it goes. Look, then finish it: "
    "watchdog rollback {service} --to {to_version} --reason TEXT, or by hand: all traffic to {target}.",
    RollbackState.FAILED: "The traffic switch refused. Look into the reason, then: "
    "watchdog rollback {service} --to {to_version} --reason TEXT, or move traffic to {target} by hand.",
    RollbackState.EXPIRED: "Nothing was moved. If the service is still bad: watchdog rollback {service} --reason TEXT.",
}
#: The same where nobody saw requests leave the bad version.
_NOT_MOVED = (
    "Traffic was not seen to leave {version}. Look for connections that stay open, caches, and ways in that pass the "
    "switch by."
)
_UNDO = (
    "If the rollback was a mistake: watchdog mark-good {service} {version} --reason TEXT, then: "
    "watchdog rollback {service} --to {version} --reason TEXT."
)
_STAYS = "If {version} is good after all: watchdog mark-good {service} {version} --reason TEXT, then"
_CLOSE = "watchdog incidents close {incident} --reason TEXT"
_CLOSE_WHEN = {
    RollbackState.INEFFECTIVE: "When it is settled",
    RollbackState.UNVERIFIED: "If it did",
    RollbackState.CONTESTED: _STAYS,
    RollbackState.PARTIAL: "When it is settled",
    RollbackState.FAILED: "If it shall stay as it is",
    RollbackState.EXPIRED: "If not",
}
#: What stops a person, too, and how it is lifted.
_LIFTED = {
    "paused": "Lift the pause when it is no longer needed (remove the pause file or the mark on the target, or: "
    "watchdog resume {service}); then it goes on by itself. Or move traffic by hand.",
    "leader": "This process may not act. See that the one that may is running: watchdog doctor -c FILE",
    "known_good_target": "If a version is good although nobody proved it: "
    "watchdog mark-good {service} VERSION --reason TEXT. Or move traffic by hand.",
    "target_ready": "Bring {target} up, or give the switch a `ready` probe where nobody can tell; then it goes on by "
    "itself. Or move traffic by hand.",
    "unmanaged": "Change it where it is managed, or say in the service's configuration what to do: gitops.",
}
_FORBIDDEN = "The deployment was recorded with rollback: forbidden. Move traffic by hand if that is safe."
_DECIDE = "Decide yourself: watchdog rollback {service} --reason TEXT."


def at_end(service: Service, rollback: Rollback, *, still_open: bool) -> str:
    """What to do about a rollback that has ended. `still_open`: its incident is."""
    step = NEXT_STEPS.get(rollback.state, "")
    if rollback.state is RollbackState.INEFFECTIVE and not rollback.traffic_proof:
        step = _NOT_MOVED
    when = _CLOSE_WHEN.get(rollback.state)
    closing = f"{when}: {_CLOSE}" if when and still_open else ""
    return _filled(f"{step} {closing}", service, rollback)


def when_switched(service: Service, rollback: Rollback) -> str:
    """What to do while it is being verified: nothing, unless it was a mistake."""
    stop = "Stop the automation: watchdog pause {service}"
    return _filled(f"Being verified now. {_UNDO} {stop}", service, rollback)


def when_blocked(service: Service, rollback: Rollback) -> str:
    """How to lift what stops it, or to overrule it where a person can."""
    step = _DECIDE
    for veto in rollback.vetoes:
        if veto.guard in _LIFTED:
            step = _FORBIDDEN if veto.reason == "forbidden" else _LIFTED[veto.guard]
            break
    closing = f" If it shall stay as it is: {_CLOSE}" if rollback.incident else ""
    return _filled(step + closing, service, rollback)


def to_answer(rollback: Rollback, *, within: str) -> str:
    """How to answer the question whether to roll back."""
    incident = rollback.incident
    return f"Within {within}: watchdog approve {incident}, or: watchdog reject {incident} --reason TEXT"


def _filled(step: str, service: Service, rollback: Rollback) -> str:
    return " ".join(
        step.replace("{undo}", _UNDO)
        .format(
            service=service.name,
            target=rollback.to_variant or "the target",
            version=rollback.from_version,
            to_version=rollback.to_version,
            incident=rollback.incident,
        )
        .split()
    )
