"""A person's word on a version: never go back to it (taint), or it is good now (mark-good). Works on a draft.

This module must never move traffic, and never lift `rollback: forbidden`.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchdog.core.deployment import DEPLOYMENT, Deployment, DeploymentEvent, DeploymentState
from watchdog.core.draft import Draft, plain
from watchdog.core.request import Reply, Request
from watchdog.core.turn import Taint


def taint(draft: Draft, request: Request) -> Reply:
    """From now on no rollback goes to this version. One that is tainted already keeps its first reason."""
    version = _known(draft, request)
    if version is None:
        return _unknown(draft, request)
    if version not in draft.service.taints:
        reason = str(request.body.get("reason") or "")
        made = Taint(version=version, at=draft.now, reason=reason, by=request.by)
        draft.change_service(taints=draft.service.taints | {version: made})
        draft.note("version_tainted", version=version, by=request.by, reason=reason)
    return _standing(draft, request, version)


def untaint(draft: Draft, request: Request) -> Reply:
    """A rollback may go to this version again, if it is good otherwise."""
    version = _known(draft, request)
    if version is None:
        return _unknown(draft, request)
    _lift(draft, request, version)
    return _standing(draft, request, version)


def mark_good(draft: Draft, request: Request) -> Reply:
    """The version is stable now, wherever a variant carries it, and no longer tainted."""
    version = _known(draft, request)
    if version is None:
        return _unknown(draft, request)
    found, problems = _carried(draft, version)
    if not found:
        why = "; ".join(problems) or f"{version} never took traffic, so nobody can know it"
        return Reply(request=request.id, status=409, detail=f"{version} cannot be marked good: {why}")
    reason = str(request.body.get("reason") or "")
    why = f"marked good by {request.by}" + (f": {reason}" if reason else "")
    for one in found:
        vouched = replace(one, vouched_at=draft.now, reason=why)
        draft.set_deployment(vouched)
        draft.move_deployment(vouched, DeploymentEvent.VOUCHED_FOR, why)
    draft.note(
        "version_marked_good",
        version=version,
        by=request.by,
        reason=reason,
        deployments=[one.id for one in found],
    )
    _lift(draft, request, version)
    return _standing(draft, request, version)


def _known(draft: Draft, request: Request) -> str | None:
    """The name under which a version is known here; the switch's own name for it will do."""
    wanted = str(request.body.get("version") or "")
    for one in draft.service.deployments.values():
        if wanted in (one.version, one.reported):
            return one.version
    return wanted if wanted in draft.service.taints else None


def _unknown(draft: Draft, request: Request) -> Reply:
    newest = sorted(draft.service.deployments.values(), key=lambda one: one.recorded_at, reverse=True)
    known = ", ".join(list(dict.fromkeys(one.version for one in newest))[:10]) or "none"
    wanted = request.body.get("version")
    detail = f"{draft.service.name} has no version {wanted!r}; known, newest first: {known}"
    return Reply(request=request.id, status=404, detail=detail)


def _lift(draft: Draft, request: Request, version: str) -> None:
    lifted = draft.service.taints.get(version)
    if lifted is None:
        return
    kept = {name: one for name, one in draft.service.taints.items() if name != version}
    draft.change_service(taints=kept)
    draft.note(
        "version_untainted",
        version=version,
        by=request.by,
        reason=str(request.body.get("reason") or ""),
        was=lifted,
    )


def _carried(draft: Draft, version: str) -> tuple[list[Deployment], list[str]]:
    """The deployments in which variants carry the version now, and why others of that version do not count."""
    found: list[Deployment] = []
    problems: list[str] = []
    for variant in dict.fromkeys(
        one.variant for one in draft.service.deployments.values() if one.version == version
    ):
        serving, newest = draft.service.serving(variant), draft.service.on_variant(variant)
        told = draft.service.traffic.told(variant) if draft.service.traffic else None
        if newest is not None and newest.state is DeploymentState.PENDING:
            problems.append(
                f"{newest.version} is announced for {variant}; wait until it is there or given up"
            )
        elif serving is None:
            problems.append(f"{version} never took traffic on {variant}, so nobody can know it")
        elif serving.version != version:
            problems.append(f"{variant} carries {serving.version} since")
        elif not serving.fits(told):
            problems.append(f"{variant} carries {told} now")
        elif DEPLOYMENT.accepts(serving.state, DeploymentEvent.VOUCHED_FOR):
            found.append(serving)
    return found, problems


def _standing(draft: Draft, request: Request, version: str) -> Reply:
    """How the version stands now."""
    states = {
        one.variant: one.state
        for variant in dict.fromkeys(one.variant for one in draft.service.deployments.values())
        if (one := draft.service.serving(variant)) is not None and one.version == version
    }
    tainted = draft.service.taints.get(version)
    body = {
        "service": draft.service.name,
        "version": version,
        "taint": replace(tainted, by=tainted.by or "watchdog") if tainted is not None else None,
        "states": states,
    }
    return Reply(request=request.id, status=200, body=plain(body))
