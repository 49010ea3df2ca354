"""Certificates for loopback, made by openssl for one test run."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.servers.require import require

_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=watchdog-test"
#: What `openssl ca` wants to be told; only with it can a certificate end in the past.
_AUTHORITY = """
[ca]
default_ca = own
[own]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
policy = any
default_md = sha256
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = {names}
"""


class Certificate:
    """A self-signed certificate: `file` is its own authority, `context` serves it.

    It is for 127.0.0.1, or for other `names`; valid for two days, or until `ends`, which may be in the past.
    """

    def __init__(self, folder: Path, *, ends: datetime | None = None, names: str = "IP:127.0.0.1") -> None:
        self.folder = folder
        self._names = names
        self.file = folder / "certificate.pem"
        self.key = folder / "key.pem"
        if ends is None:
            words = ["-x509", *_KEY.split(), "-days", "2", "-addext", f"subjectAltName={names}"]
            self._openssl("req", *words, "-keyout", self.key, "-out", self.file)
        else:
            self._make(ends.astimezone(UTC))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.file, self.key)

    def _make(self, ends: datetime) -> None:
        request, settings = self.folder / "request.pem", self.folder / "authority.conf"
        settings.write_text(_AUTHORITY.format(folder=self.folder, names=self._names))
        (self.folder / "index.txt").write_text("")
        (self.folder / "serial").write_text("01\n")
        self._openssl("req", "-new", *_KEY.split(), "-keyout", self.key, "-out", request)
        begins = min(ends, datetime.now(UTC)) - timedelta(days=1)
        dates = ("-startdate", f"{begins:%Y%m%d%H%M%SZ}", "-enddate", f"{ends:%Y%m%d%H%M%SZ}")
        words = ("-selfsign", "-batch", "-notext", "-config", settings, "-keyfile", self.key, *dates)
        self._openssl("ca", *words, "-in", request, "-out", self.file)

    def _openssl(self, *words: str | Path) -> None:
        command = [require("openssl"), *map(str, words)]
        subprocess.run(command, check=True, capture_output=True, timeout=15)
