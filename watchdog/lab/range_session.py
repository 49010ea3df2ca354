"""The HTTP session of range queries, for prometheus-api-client to use: bounded, and going nowhere else.

That library follows redirects, reads answers without a bound, puts queries into addresses and keeps warnings to
itself; here it does none of that. This module must never retry, and never let a credential into a text.
"""

from __future__ import annotations

import io
import json
import time
from typing import Any

import requests

#: Largest answer, decompressed (bytes): 11,000 points of some 200 series.
ANSWER_BYTES = 64 * 2**20
_CHUNK = 2**16


class TooLarge(requests.RequestException):
    """The answer is larger than `ANSWER_BYTES`."""


class Session(requests.Session):
    """One connection's session. `status`, `body` and `location` are those of the last answer."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # no proxies, no .netrc and no authorities of the environment
        self.status = 0
        self.body = b""
        self.location = ""

    def request(self, method: str, url: str, **given: Any) -> requests.Response:  # type: ignore[override]
        """One exchange within `timeout` seconds; a POST carries its parameters in the body."""
        self.status, self.body, self.location = 0, b"", ""
        timeout = float(given["timeout"])
        deadline = time.monotonic() + timeout
        if method == "POST":
            given["data"] = given.pop("params")
        given |= {"stream": True, "allow_redirects": False}
        with super().request(method, url, **given) as answer:
            body = bytearray()
            for chunk in answer.iter_content(_CHUNK):
                body += chunk
                if len(body) > ANSWER_BYTES:
                    raise TooLarge(f"the answer is larger than {ANSWER_BYTES // 2**20} MiB")
                if time.monotonic() > deadline:
                    raise requests.ReadTimeout(f"no complete answer within {timeout:g} s")
            self.status, self.body = answer.status_code, bytes(body)
            self.location = answer.headers.get("Location", "").partition("?")[0]
            whole = requests.Response()
            whole.status_code = answer.status_code
            whole.raw = io.BytesIO(self.body)
            return whole

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the last answer warns of."""
        if b'"warnings"' not in self.body:
            return ()
        found = json.loads(self.body).get("warnings") or ()
        return tuple(str(one) for one in found)
