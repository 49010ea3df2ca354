"""The channel `slack` and the workspace that stands in for its outside, as the contract of all channels wants them."""

from __future__ import annotations

from datetime import timedelta

from pydantic import SecretStr

from tests.channels.fake_slack import (
    APP_TOKEN,
    NAME,
    SIGNING_SECRET,
    TOKEN,
    WEBHOOK_SECRET,
    FakeSlack,
    Trick,
    answer,
    close,
    error,
    hang,
)
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Channel, Delivered, Delivery, Later, Refused, Unclear
from watchdog.channels.slack import SlackChannel

#: It makes words and blocks before it sends; a busy machine needs its time.
TIMEOUT = timedelta(milliseconds=1500)


class SlackRig:
    """By a bot, or with `webhook` by an incoming webhook."""

    def __init__(self, workspace: FakeSlack, *, webhook: bool) -> None:
        self.workspace = workspace
        self.secrets: tuple[str, ...] = (WEBHOOK_SECRET,) if webhook else (TOKEN, APP_TOKEN, SIGNING_SECRET)
        self._method = "webhook" if webhook else "chat.postMessage"
        where = (
            {"webhook_url": SecretStr(workspace.webhook)}
            if webhook
            else {
                "token": SecretStr(TOKEN),
                "channel": NAME,
                "app_token": SecretStr(APP_TOKEN),
                "signing_secret": SecretStr(SIGNING_SECRET),
                "users": ["U0ALLOWED"],
            }
        )
        settings = SlackChannel.Settings.model_validate({"url": workspace.url, "timeout": TIMEOUT, **where})
        self.channel: Channel = SlackChannel(settings, name="ops", clock=SystemClock())

    def behave(self, outside: str) -> type[Delivery]:
        said = " ".join(self.secrets)  # whatever comes back must not be shown
        tricks: dict[str, tuple[Trick | None, type[Delivery]]] = {
            "answer": (None, Delivered),
            "busy": (answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "7"}), Later),
            "refuse": (error(said), Refused),
            "vanish": (close, Unclear),
            "hang": (hang, Unclear),
        }
        trick, outcome = tricks[outside]
        self.workspace.always(self._method, trick)
        if not self._method.startswith("webhook"):
            self.workspace.always("auth.test", trick)
        return outcome

    def calls(self) -> int:
        return len(self.workspace.called(self._method))
