"""Routes: every path of the API in one table, from which application and OpenAPI document are both made."""

from __future__ import annotations

from dataclasses import dataclass

from watchdog.api import gitops_shapes, hook_shapes, outbox_shapes, shapes
from watchdog.api.auth import Role
from watchdog.api.bodies import (
    Body,
    PostedAcknowledgement,
    PostedDeployment,
    PostedReason,
    PostedRollback,
    PostedSilence,
    PostedVersion,
)
from watchdog.api.foreign import AlertmanagerDelivery, GithubDelivery

V1 = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path.

    `handler` names it in the application; `role` is what the caller needs (`None`: nobody is asked). `answer`
    is the shape of a success, `many` whether a page of them comes; without one, `media_type` says what comes.
    `or_status` is that of a request whose wish was fulfilled already, `or_body` and `or_answer` are what it takes and
    says as well. `keyed`: a body may come with an `Idempotency-Key`. `signed`: a signature does instead of a token.
    `called_back` is the type of a body that a channel's provider sends, which the channel knows to be authentic.
    """

    method: str
    path: str
    handler: str
    summary: str
    role: Role | None = Role.VIEWER
    answer: type[shapes.Shape] | None = None
    many: bool = False
    filters: tuple[str, ...] = ()
    body: type[Body] | None = None
    status: int = 200
    or_status: int | None = None
    or_body: type[Body] | None = None
    or_answer: type[shapes.Shape] | None = None
    keyed: bool = True
    signed: bool = False
    called_back: str = ""
    media_type: str = "application/json"

    @property
    def body_required(self) -> bool:
        """Whether a request without a body is a mistake."""
        return self.body is not None and any(field.is_required() for field in self.body.model_fields.values())


def _get(path: str, handler: str, summary: str, answer: type[shapes.Shape]) -> Route:
    return Route(method="GET", path=V1 + path, handler=handler, summary=summary, answer=answer)


def _static(path: str, handler: str, summary: str, media_type: str) -> Route:
    return Route(method="GET", path=path, handler=handler, summary=summary, role=None, media_type=media_type)


def _list(path: str, summary: str, answer: type[shapes.Shape], *filters: str) -> Route:
    return Route(
        method="GET",
        path=f"{V1}/{path}",
        handler=path,
        summary=summary,
        answer=answer,
        many=True,
        filters=filters,
    )


def _post(
    path: str,
    handler: str,
    summary: str,
    *,
    body: type[Body] = PostedReason,
    answer: type[shapes.Shape] | None = None,
    status: int = 200,
    or_status: int | None = None,
) -> Route:
    return Route(
        method="POST",
        path=V1 + path,
        handler=handler,
        summary=summary,
        role=Role.OPERATOR,
        answer=answer,
        body=body,
        status=status,
        or_status=or_status,
    )


def _callback(kind: str, summary: str, body: str) -> Route:
    return Route(
        method="POST",
        path=f"/hooks/{kind}",
        handler=f"hook_{kind}",
        summary=summary,
        role=None,
        called_back=body,
        media_type="text/plain",
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/healthz",
        handler="health",
        summary="Whether the reactor makes progress",
        role=None,
        answer=shapes.Health,
    ),
    Route(
        method="GET",
        path="/readyz",
        handler="readiness",
        summary="Whether requests can be answered; a follower is ready",
        role=None,
        answer=shapes.Readiness,
    ),
    Route(
        method="GET",
        path="/metrics",
        handler="metrics",
        summary="The watchdog's own metrics; open or for viewers, as configured",
        media_type="text/plain",
    ),
    _static("/", "dashboard", "The dashboard, a page without data that asks the paths below", "text/html"),
    _static("/dashboard.js", "dashboard_script", "What the dashboard does", "text/javascript"),
    _static("/dashboard.css", "dashboard_style", "How the dashboard looks", "text/css"),
    _get("/status", "status", "The daemon itself and its sources now", shapes.Status),
    _list("services", "Every service now, by name", shapes.Service),
    _get("/services/{name}", "service", "One service now", shapes.Service),
    _list("rules", "Every rule in force, by name", shapes.Rule),
    _list("deployments", "Deployments, newest first", shapes.Deployment, "service"),
    _get("/deployments/{id}", "deployment", "One deployment", shapes.Deployment),
    _list("incidents", "Incidents, newest first", shapes.Incident, "service", "open"),
    _get("/incidents/{id}", "incident", "One incident", shapes.Incident),
    _list("rollbacks", "Rollbacks, newest first", shapes.Rollback, "service"),
    _get("/rollbacks/{id}", "rollback", "One rollback", shapes.Rollback),
    _list("silences", "Silences, newest first", shapes.Silence, "active"),
    _get("/silences/{id}", "silence", "One silence", shapes.Silence),
    _list(
        "outbox",
        "Messages on their way, sent or given up, newest first",
        outbox_shapes.OutboxEntry,
        "state",
        "channel",
    ),
    _list("audit", "Audit records, newest first", shapes.AuditEntry, "subject"),
    Route(
        method="GET",
        path=f"{V1}/events",
        handler="events",
        summary="One event per committed change: deployment, incident, rollback or audit",
        media_type="text/event-stream",
    ),
    Route(method="GET", path=f"{V1}/openapi.json", handler="openapi", summary="This document"),
    _post(
        "/deployments",
        "post_deployment",
        "Record a deployment",
        body=PostedDeployment,
        answer=shapes.Deployment,
        status=201,
        or_status=200,
    ),
    _post(
        "/services/{name}/rollback",
        "post_rollback",
        "Move a service's traffic back",
        body=PostedRollback,
        answer=shapes.Rollback,
        status=202,
    ),
    _post("/services/{name}/pause", "pause", "Stop the automation for a service"),
    _post("/services/{name}/resume", "resume", "Let the automation act again"),
    _post(
        "/services/{name}/gitops/resume",
        "gitops_resume",
        "Let what was suspended for a rollback (`gitops: pause`) write the target again",
        answer=gitops_shapes.Resumed,
    ),
    _post(
        "/services/{name}/taint",
        "taint",
        "Never roll back to a version",
        body=PostedVersion,
        answer=shapes.Standing,
    ),
    _post(
        "/services/{name}/untaint",
        "untaint",
        "Let a version be a rollback target again",
        body=PostedVersion,
        answer=shapes.Standing,
    ),
    _post(
        "/services/{name}/mark-good",
        "mark_good",
        "Make a version stable now: a rollback target",
        body=PostedVersion,
        answer=shapes.Standing,
    ),
    _post(
        "/incidents/{id}/acknowledge",
        "acknowledge",
        "Say that somebody looks after an incident, perhaps for so long",
        body=PostedAcknowledgement,
        answer=shapes.Incident,
    ),
    _post(
        "/incidents/{id}/unacknowledge",
        "unacknowledge",
        "Say that nobody looks after an incident any more: its ladder begins again",
        answer=shapes.Incident,
    ),
    _post("/incidents/{id}/approve", "approve", "Allow the rollback that waits for approval"),
    _post("/incidents/{id}/reject", "reject", "Refuse the rollback that waits for approval"),
    _post("/incidents/{id}/close", "close", "Close an incident by hand", answer=shapes.Incident),
    _post(
        "/silences",
        "post_silence",
        "Hold back what is told of incidents, for a while",
        body=PostedSilence,
        answer=shapes.Silence,
        status=201,
    ),
    _post("/silences/{id}/expire", "expire", "End a silence early", answer=shapes.Silence),
    _post(
        "/outbox/{id}/retry",
        "resend",
        "Try a message again that was given up",
        answer=outbox_shapes.OutboxEntry,
    ),
    Route(
        method="POST",
        path="/hooks/deployment",
        handler="hook_deployment",
        summary="Record a deployment: as `/api/v1/deployments`, or GitHub's event `deployment_status`",
        role=Role.OPERATOR,
        answer=shapes.Deployment,
        or_answer=hook_shapes.Ignored,
        body=PostedDeployment,
        or_body=GithubDelivery,
        status=201,
        or_status=200,
        signed=True,
    ),
    Route(
        method="POST",
        path="/hooks/alertmanager",
        handler="hook_alertmanager",
        summary="Ask the checks of every service that a firing alert names at once",
        role=Role.OPERATOR,
        answer=hook_shapes.Heard,
        body=AlertmanagerDelivery,
        keyed=False,
    ),
    _callback("slack", "A button in Slack, signed by Slack", "application/x-www-form-urlencoded"),
    _callback(
        "pagerduty", "What became of an incident at PagerDuty, signed by PagerDuty", "application/json"
    ),
)
