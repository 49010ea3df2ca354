"""Twilio's message API on loopback, by its documentation: it checks who asks, what is asked and how, and keeps count.

`answers` maps a number to what comes back for it: a status, a code and a wish for time, or `hang` and `close`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from tests.channels.receiver import Receiver, close, hang, read_request

ACCOUNT, TOKEN = "AC" + "0" * 31 + "1", "canary-9c2e-twilio-token"
SENDER, ONE, TWO, THREE = "+12025550100", "+12025550111", "+12025550222", "+12025550333"
_LONGEST = 1600


@dataclass(frozen=True)
class Said:
    """An answer: the HTTP status, Twilio's code, its words, `Retry-After`."""

    status: int
    code: int = 0
    message: str = "The 'To' number {to} has a problem"
    after: str = ""


@dataclass
class Twilio(Receiver):
    """The API. `texts` is what was taken: number and text."""

    answers: Mapping[str, Said | str] = field(default_factory=dict)
    always: Said | str | None = None
    texts: list[tuple[str, str]] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    asked_for_account: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            request = await read_request(reader)
            self.received.append(request)
            basic = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
            known = request.headers.get("authorization") == f"Basic {basic}"
            base = f"/2010-04-01/Accounts/{ACCOUNT}"
            answer: Said | str | dict[str, object]
            if not known:
                answer = Said(401, 20003, f"Authenticate: not {request.headers.get('authorization')}")
            elif (request.method, request.path) == ("GET", f"{base}.json"):
                self.asked_for_account += 1
                answer = self.always or {"sid": ACCOUNT, "status": "active"}
            elif (request.method, request.path) != ("POST", f"{base}/Messages.json"):
                answer = Said(404, 20404, "The requested resource was not found")
            else:
                answer = self._take(request.headers.get("content-type", ""), request.body)
            if answer == "hang":
                await hang(reader, writer)
            elif answer != "close":
                writer.write(_http(answer))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            await close(reader, writer)

    def _take(self, content_type: str, body: bytes) -> Said | str | dict[str, object]:
        if content_type != "application/x-www-form-urlencoded":
            return Said(415, 20415, "Unsupported media type")
        form = {name: values[0] for name, values in parse_qs(body.decode(), strict_parsing=True).items()}
        self.forms.append(form)
        to, text = form.get("To", ""), form.get("Body", "")
        if not to:
            return Said(400, 21604, "A 'To' phone number is required")
        if ("From" in form) == ("MessagingServiceSid" in form):
            return Said(400, 21603, "A 'From' phone number is required")
        if not text:
            return Said(400, 21602, "Message body is required")
        if len(text) > _LONGEST:
            return Said(400, 21617, "The concatenated message body exceeds the 1600 character limit")
        answer = self.always or self.answers.get(to)
        if answer is not None:
            return _with(answer, to)
        self.texts.append((to, text))
        return {"sid": f"SM{len(self.texts):032x}", "status": "queued", "error_code": None}


def _with(answer: Said | str, to: str) -> Said | str:
    if isinstance(answer, str):
        return answer
    return Said(answer.status, answer.code, answer.message.format(to=to), answer.after)


def _http(answer: Said | str | dict[str, object]) -> bytes:
    status, after = 201, ""
    body = answer
    if isinstance(answer, Said):
        status, after = answer.status, answer.after
        body = {"code": answer.code, "message": answer.message, "status": status} if answer.code else {}
        if 200 <= status < 300:
            body = {"sid": "SMx", "status": "failed", "error_code": answer.code}
    content = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}"]
    lines += [f"Retry-After: {after}"] if after else []
    return "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode() + content
