"""Foreign bodies: the parts that matter here of what other programs post. The rest is theirs and is not looked at.

GitHub: the webhook event `deployment_status` (docs.github.com, "Webhook events and payloads"). Alertmanager: the
payload of `webhook_config`, version 4 (prometheus.io, "Alerting configuration"). This module must never make a key
required that it can do without: others add and leave out as they like.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from watchdog.api.bodies import Body, Moment, Word

_Text = Annotated[str, Field(max_length=4000)]


class Foreign(Body):
    """Base of bodies that others define."""

    model_config = ConfigDict(extra="ignore")


class GithubRepository(Foreign):
    """The repository that was deployed from."""

    full_name: _Text = ""
    """Its owner and name."""


class GithubDeployment(Foreign):
    """What was asked of GitHub."""

    id: int | None = None
    """GitHub's number of it."""
    ref: _Text = ""
    """The branch, tag or commit that was asked for."""
    sha: _Text = ""
    """The commit that was deployed."""
    environment: _Text | None = None
    """Where to, in GitHub's words."""
    payload: Any = None
    """What the one who made the deployment wrote beside it: `service`, `variant` and perhaps `version`,
    `environment`, `rollback` and `labels`."""
    created_at: Moment | None = None
    """When it was asked for."""


class GithubStatus(Foreign):
    """What became of it."""

    id: int | None = None
    """GitHub's number of this news."""
    state: _Text
    """Only `success` is acted on."""
    log_url: str | None = None
    """Where to read more."""
    target_url: str | None = None
    """The same, in older words."""
    created_at: Moment | None = None
    """When it became so."""


class GithubDelivery(Foreign):
    """GitHub's event `deployment_status`."""

    deployment: GithubDeployment
    """What was asked of GitHub."""
    deployment_status: GithubStatus
    """What became of it."""
    repository: GithubRepository | None = None
    """The repository that was deployed from."""


class AlertmanagerAlert(Foreign):
    """One alert."""

    status: _Text
    """Only `firing` is acted on."""
    labels: dict[str, str]
    """`service` names one of ours; `environment`, if it is there, must be that service's."""
    starts_at: Annotated[Moment, Field(alias="startsAt")]
    """When it began."""
    fingerprint: Word
    """What tells its set of labels from every other."""


class AlertmanagerDelivery(Foreign):
    """What Alertmanager posts to a `webhook_config`."""

    version: Literal["4"]
    """The version of this format."""
    alerts: list[AlertmanagerAlert]
    """A group of alerts."""
