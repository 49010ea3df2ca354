"""A Workflows webhook of Microsoft Teams on loopback: it takes cards of its kind and size, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.channels.receiver import Received, Receiver

SIGNATURE = "canary-3d4e-teams-signature"
FLOW = "canary0f1e2d3c4b5a69788796a5b4c3d2e1f0"
_LIMIT = 28 * 1024
_STYLES = {"default", "emphasis", "good", "attention", "warning", "accent"}


@dataclass
class Teams(Receiver):
    """The flow. Until `status` or `body` say otherwise a good card is 202, as Workflows answer it."""

    status: int = 0
    body: bytes = b""
    cards: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        path = f"/workflows/{FLOW}/triggers/manual/paths/invoke"
        return f"http://127.0.0.1:{self.port}{path}?api-version=2016-06-01&sp=%2Frun&sv=1.0&sig={SIGNATURE}"

    def _answer(self) -> bytes:
        if self.status:
            return super()._answer()
        status, text = self._judge(self.received[-1])
        return f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()

    def _judge(self, request: Received) -> tuple[int, str]:
        if f"sig={SIGNATURE}" not in request.path or FLOW not in request.path:
            return (
                401,
                '{"error":{"code":"DirectApiAuthorizationRequired","message":"The request must be signed"}}',
            )
        if request.headers.get("content-type") != "application/json":
            return 415, '{"error":{"code":"UnsupportedMediaType","message":"send JSON"}}'
        if len(request.body) > _LIMIT:
            return 413, '{"error":{"code":"RequestEntityTooLarge","message":"28 KB at most"}}'
        try:
            self.cards.append(checked(json.loads(request.body)))
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            return 400, json.dumps({"error": {"code": "InvalidCard", "message": str(error)}})
        return 202, ""


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """The card of a request; raises for what Teams would not show."""
    assert set(body) == {"type", "attachments"}
    assert body["type"] == "message"
    [attachment] = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card: dict[str, Any] = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.2")
    for block in card["body"]:
        _check(block)
    assert len(card["actions"]) <= 6
    for action in card["actions"]:
        assert action["type"] == "Action.OpenUrl"
        assert action["title"]
        assert action["url"].startswith(("https://", "http://"))
    return card


def _check(block: dict[str, Any]) -> None:
    match block["type"]:
        case "TextBlock":
            assert isinstance(block["text"], str)
            assert block["text"]
        case "FactSet":
            assert block["facts"]
            for fact in block["facts"]:
                assert set(fact) == {"title", "value"}
        case "Container":
            assert block["style"] in _STYLES
            for item in block["items"]:
                _check(item)
        case other:
            raise ValueError(f"no such element: {other}")


def texts_of(card: dict[str, Any]) -> list[str]:
    """Every text of a card, in the order in which people read it."""
    found: list[str] = []
    for block in card["body"]:
        for item in block.get("items", [block]):
            if item["type"] == "TextBlock":
                found.append(item["text"])
            else:
                found += [f"{fact['title']}: {fact['value']}" for fact in item["facts"]]
    return found
