"""What leaves with a message holds no secret, wherever it was planted, in whatever form it is rendered."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from watchdog.channels.rendering import Rendering, as_text
from watchdog.channels.specimens import specimens
from watchdog.core.message import Message, MessageKind
from watchdog.core.wording import linked
from watchdog.telemetry.cleaning import cleaned
from watchdog.telemetry.redact import MASK, register_secret

SECRET = "canary-8c2d-in-a-message"
URL = "https://ann:canary-77aa-password@runbooks.example.com/x"
USUAL = specimens()[MessageKind.ROLLBACK_SWITCHED]


def planted(message: Message, secret: str) -> Message:
    """The message with a secret in every text of it but its ids."""
    said = f"see {secret} there"
    return replace(
        message,
        headline=said,
        service=secret,
        environment=said,
        version=said,
        labels={"team": said, said: "x"},
        facts=((said, "x"), ("name", said), ("guard paused", said)),
        next_step=f"Do: watchdog rollback {secret} --reason TEXT",
        undo=f"watchdog resume {secret}",
        explain=f"watchdog explain {secret}",
        runbook=f"https://runbooks.example.com/{secret}",
        dashboard=f"https://dashboards.example.com/?key={secret}",
    )


@pytest.mark.parametrize("kind", MessageKind)
def test_a_registered_secret_leaves_in_no_part_of_a_message(kind: MessageKind) -> None:
    register_secret(SECRET)
    bad = planted(specimens()[kind], SECRET)
    good = cleaned(bad)

    sent = msgspec.json.encode(good).decode()
    assert SECRET not in sent
    assert sent.count(MASK) >= 10
    assert (good.key, good.incident, good.about, good.created_at) == (
        bad.key,
        bad.incident,
        bad.about,
        bad.created_at,
    )
    assert cleaned(good) == good


@pytest.mark.parametrize(
    "templates", [{}, {"text": "{{ headline }} {% for name in labels %}{{ labels[name] }}{% endfor %}"}]
)
def test_a_secret_stands_in_no_rendering_even_of_what_was_not_cleaned(templates: dict[str, str]) -> None:
    register_secret(SECRET)
    made = Rendering(templates).of(planted(USUAL, SECRET), chart=True)
    assert SECRET not in msgspec.json.encode(made).decode() + as_text(planted(USUAL, SECRET))
    assert MASK in made.text


def test_what_a_url_says_of_user_and_password_stays_here() -> None:
    fields: dict[str, Any] = {
        "headline": f"see {URL}",
        "runbook": URL,
        "dashboard": URL,
        "facts": (("at", URL),),
    }
    message = replace(USUAL, **fields)
    for text in (
        msgspec.json.encode(cleaned(message)).decode(),
        msgspec.json.encode(Rendering().of(message)).decode(),
    ):
        assert "canary-77aa" not in text
        assert f"https://{MASK}@runbooks.example.com/x" in text


def test_what_holds_no_secret_is_not_made_anew() -> None:
    assert cleaned(USUAL) is USUAL


def test_the_watchdog_s_own_dashboard_is_the_address_where_there_is_no_other() -> None:
    bare = replace(USUAL, dashboard=None)
    assert (
        linked(bare, "https://wd.example.com/").dashboard
        == f"https://wd.example.com/#incident={USUAL.incident}"
    )
    assert (
        linked(replace(bare, incident=None), "https://wd.example.com").dashboard == "https://wd.example.com/"
    )
    assert linked(replace(bare, dashboard="https://d"), "https://wd.example.com").dashboard == "https://d"
    assert linked(bare, None) is bare
