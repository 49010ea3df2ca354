"""What a person does about a rollback: at each end, at each guard that stops it, and to take it back.

Every command stands at the end of its clause, so that it can be copied as it is; TEXT and VERSION are for the reader
to fill in. Builds sentences only. This module must never advise what the guards would refuse a person.
"""

from __future__ import annotations

from watchdog.core.rollback import VERIFYING, Rollback, RollbackState
from watchdog.core.service import Service
from watchdog.core.wording import word

#: What a person should do about each end of a rollback.
NEXT_STEPS = {
    RollbackState.COMPLETED: "Traffic stays on {target}. Find out what is wrong with {version} before it is deployed "
    "again; it is tainted, so no rollback goes there. What was seen: watchdog explain {rollback}.",
    RollbackState.INEFFECTIVE: "The cause is not this deployment, or the old version is bad too. Look at what both "
    "versions share; traffic stays where it is until somebody moves it.",
    RollbackState.UNVERIFIED: "Check by hand whether the service recovered: it could not be measured after the switch.",
    RollbackState.CONTESTED: "Find who moves traffic back (a deploy job, a reload of the proxy, GitOps) and stop it, "
    "then: watchdog rollback {named} --reason TEXT.",
    RollbackState.SUPERSEDED: "Somebody or something else moves traffic. Nothing more is done; see what is live now: "
    "watchdog status {named}",
    RollbackState.PARTIAL: "Traffic is split, or nobody could read where it goes. Look, then finish it: "
    "watchdog rollback {named} --to {back} --reason TEXT, or by hand: all traffic to {target}.",
    RollbackState.FAILED: "The traffic switch refused. Look into the reason, then: "
    "watchdog rollback {named} --to {back} --reason TEXT, or move traffic to {target} by hand.",
    RollbackState.EXPIRED: "Nothing was moved. If the service is still bad: watchdog rollback {named} --reason TEXT.",
}
#: The same where nobody saw requests leave the bad version.
_NOT_MOVED = (
    "Traffic was not seen to leave {version}. Look for connections that stay open, caches, and ways in that pass the "
    "switch by."
)
#: Ends after which traffic is on the target, and could be moved back.
_MOVED = VERIFYING | {RollbackState.COMPLETED, RollbackState.INEFFECTIVE, RollbackState.UNVERIFIED}
_UNDO = "watchdog mark-good {named} {bad} --reason TEXT && watchdog rollback {named} --to {bad} --reason TEXT"
_STAYS = "If {version} is good after all: watchdog mark-good {named} {bad} --reason TEXT, then"
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
    "paused": "Lift the pause when it is no longer needed: watchdog resume {named}, or remove the pause file or the "
    "mark on the target; then it goes on by itself. Or move traffic by hand.",
    "leader": "This process may not act. See that the one that may is running: watchdog doctor -c FILE",
    "known_good_target": "If a version is good although nobody proved it: "
    "watchdog mark-good {named} VERSION --reason TEXT. Or move traffic by hand.",
    "target_ready": "Bring {target} up, or give the switch a `ready` probe where nobody can tell; then it goes on by "
    "itself. Or move traffic by hand.",
    "unmanaged": "Change it where it is managed, or say in the service's configuration what to do: gitops.",
}
_FORBIDDEN = "The deployment was recorded with rollback: forbidden. Move traffic by hand if that is safe."
_PROVE = (
    "Decide yourself: watchdog rollback {named} --reason TEXT. So that next time nobody need, back-test the rule as it "
    "is: watchdog backtest."
)
_DECIDE = "Decide yourself: watchdog rollback {named} --reason TEXT."


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
    step = "It is being verified now; how it ends is told. To stop the automation: watchdog pause {named}"
    return _filled(step, service, rollback)


def to_undo(service: Service, rollback: Rollback) -> str:
    """The commands that take a switch back; nothing where none was made, or it is not in place any more.

    The version that was left is tainted, so that somebody must say first that it is good.
    """
    if rollback.state not in _MOVED or not rollback.switched or rollback.from_version == rollback.to_version:
        return ""
    return _filled(_UNDO, service, rollback)


def when_blocked(service: Service, rollback: Rollback) -> str:
    """How to lift what stops it, or to overrule it where a person can."""
    step = _DECIDE
    for veto in rollback.vetoes:
        if veto.guard in _LIFTED:
            step = _FORBIDDEN if veto.reason == "forbidden" else _LIFTED[veto.guard]
            break
    else:
        if any(veto.guard == "backtested" for veto in rollback.vetoes):
            step = _PROVE
    closing = f" If it shall stay as it is: {_CLOSE}" if rollback.incident else ""
    return _filled(step + closing, service, rollback)


def to_answer(rollback: Rollback, *, within: str) -> str:
    """How to answer the question whether to roll back."""
    incident = rollback.incident
    return f"Within {within}: watchdog approve {incident}, or: watchdog reject {incident} --reason TEXT"


def _filled(step: str, service: Service, rollback: Rollback) -> str:
    """In commands, names stand as words of a shell: `named`, `bad` and `back` are those of service and versions."""
    return " ".join(
        step.format(
            named=word(service.name),
            bad=word(rollback.from_version),
            back=word(rollback.to_version),
            target=rollback.to_variant or "the target",
            version=rollback.from_version,
            incident=rollback.incident,
            rollback=rollback.id,
        ).split()
    )
