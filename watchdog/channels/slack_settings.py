"""What a user writes for a channel of kind `slack`, and what must fit together in it.

This module must never read what a secret holds but to see whether it is one of that kind.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints, field_validator, model_validator

from watchdog.channels.posting import usable
from watchdog.core.rule import Severity
from watchdog.settings.model import ProviderSettings, Secret

BASE = "https://slack.com/api/"
ANYBODY = "anybody"


def _listed(value: Any) -> Any:
    return (ANYBODY,) if value == ANYBODY else value


Person = Annotated[str, StringConstraints(pattern=r"^(anybody|[UW][A-Z0-9]{2,})$")]
#: `anybody` may stand alone.
Persons = Annotated[
    tuple[Person, ...],
    BeforeValidator(_listed, json_schema_input_type=tuple[Person, ...] | Literal["anybody"]),
]
Group = Annotated[str, StringConstraints(pattern=r"^S[A-Z0-9]{2,}$")]
Called = Annotated[str, StringConstraints(pattern=r"^(here|channel|[UWS][A-Z0-9]{2,})$")]

_CHANNEL = re.compile(r"#?[^\s#<>]{1,80}")
_TOKENS = {"token": "xoxb-", "app_token": "xapp-"}
#: How any token of Slack's own begins; a service that speaks like Slack may have others.
_KIND = re.compile(r"x(app|ox[a-z])-")


class SlackSettings(ProviderSettings):
    """A bot in one channel (`token`), or one incoming webhook (`webhook_url`)."""

    token: Secret | None = None
    """The bot's token (`xoxb-…`): threads, updates in place, charts, buttons."""
    channel: str = ""
    """Where the bot posts: the channel's id (`C…`) or name (`#ops`). Only with `token`."""
    webhook_url: Secret | None = None
    """Address of an incoming webhook, instead of `token` and `channel`: single messages without buttons."""
    app_token: Secret | None = None
    """The app's token (`xapp-…`) for buttons by Socket Mode: nothing has to be reachable from outside."""
    signing_secret: Secret | None = None
    """The app's signing secret, for buttons by `POST /hooks/slack`."""
    users: Persons = ()
    """Who may press buttons: ids of members (`U…`), or `anybody` of the workspace."""
    groups: tuple[Group, ...] = ()
    """User groups (`S…`) whose members may press buttons, too."""
    mention: dict[Severity, tuple[Called, ...]] = Field(default={})
    """Whom a message of a severity mentions: `here`, `channel`, ids of members (`U…`) or user groups (`S…`)."""
    url: str = Field(default=BASE, pattern=r"^https?://[^\s?#]+$")
    """Base address of Slack's API."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the system's."""

    @property
    def interactive(self) -> bool:
        """Whether messages have buttons."""
        return self.app_token is not None or self.signing_secret is not None

    @field_validator("token", "app_token", "signing_secret", "webhook_url")
    @classmethod
    def _not_empty(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().strip():
            raise ValueError("is empty")
        return value

    @field_validator("token", "app_token")
    @classmethod
    def _one_word(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value().strip()):
            raise ValueError("is no token: it has blanks or other characters that no token has")
        return value

    @field_validator("webhook_url")
    @classmethod
    def _is_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not usable(value.get_secret_value().strip()):
            raise ValueError("is not an address such as https://hooks.slack.com/services/…")
        return value

    @field_validator("url")
    @classmethod
    def _has_a_host(cls, value: str) -> str:
        if not usable(value):
            raise ValueError(f"is not an address such as {BASE}")
        return f"{value.rstrip('/')}/"  # what is called is appended to it

    @field_validator("channel")
    @classmethod
    def _is_channel(cls, value: str) -> str:
        if value and not _CHANNEL.fullmatch(value):
            raise ValueError("is no channel: write its id (C…) or its name (#ops)")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.token is None) is (self.webhook_url is None):
            raise ValueError("needs `token` and `channel`, or `webhook_url`: one of both, not both")
        if self.token is None:
            if self.channel:
                raise ValueError("`channel` goes with `token`: the webhook knows its channel")
            if self.interactive or self.users or self.groups:
                raise ValueError("buttons need `token`: the messages of a webhook have none")
            return self
        if not self.channel:
            raise ValueError("`token` needs `channel`: where the bot posts")
        self._know_who()
        return self

    def _know_who(self) -> None:
        if self.interactive and not self.users and not self.groups:
            raise ValueError(
                "who may press the buttons? write `users`, `groups`, or `users: anybody` for the whole workspace"
            )
        if not self.interactive and (self.users or self.groups):
            raise ValueError(
                "`users` and `groups` are for buttons, which need `app_token` or `signing_secret`"
            )
        for name, begins in _TOKENS.items():
            value: SecretStr | None = getattr(self, name)
            text = value.get_secret_value().strip() if value is not None else begins
            if _KIND.match(text) and not text.startswith(begins):
                raise ValueError(f"`{name}` must begin with {begins}: this is another kind of token")
