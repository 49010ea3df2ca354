"""Certificates for 127.0.0.1, made by openssl for one test run."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from tests.servers.require import require


class Certificate:
    """A self-signed certificate: `file` is its own authority, `context` serves it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "certificate.pem"
        key = folder / "key.pem"
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=watchdog-test"
        subprocess.run(
            [
                require("openssl"),
                *words.split(),
                *("-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", str(key), "-out", str(self.file)),
            ],
            check=True,
            capture_output=True,
            timeout=15,
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.file, key)
