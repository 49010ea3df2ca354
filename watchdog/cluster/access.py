"""The way into a cluster, as kubernetes-asyncio finds it. The only module that imports it.

This module must never keep a credential longer than the library does, show one, nor write a kubeconfig.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import yaml
from yarl import URL

from watchdog.cluster.errors import NotSent
from watchdog.cluster.settings import ClusterSettings

#: Where a pod finds its service account's token, its namespace, and the authorities of its API server.
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_NO_WAY: Final = "no way into the cluster"


@dataclass(frozen=True, slots=True)
class Access:
    """Address and credentials. `extra` goes into every request: a proxy, or another name for TLS.

    Two of the same `mark` differ in nothing that belongs to a connection.
    """

    url: str
    ssl: ssl.SSLContext = field(repr=False)
    configuration: Any = field(repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    mark: str = field(default="", repr=False)

    async def headers(self) -> dict[str, str]:
        """The headers that say who we are; a token that is read from a file is read again when it may have changed.

        Raises `NotSent` when it cannot be read.
        """
        try:
            auth = (await self.configuration.auth_settings()).get("BearerToken")
        except Exception as error:
            raise NotSent(f"{_NO_WAY}: the token cannot be read: {_words(error)}") from error
        # Token files are written with and without a line's end.
        words = [] if auth is None else str(auth["value"] or "").split()
        if len(words) > 2 or not all(word.isprintable() and word.isascii() for word in words):
            raise NotSent(f"{_NO_WAY}: the token has characters that no HTTP header can carry")
        return {"Authorization": " ".join(words)} if words else {}


async def find_access(
    settings: ClusterSettings,
    *,
    environment: Mapping[str, str] | None = None,
    account: Path = SERVICE_ACCOUNT,
) -> Access:
    """Credentials and address by `settings`, read anew. Raises `NotSent` in words when there are none.

    `environment` is the process's by default; `account` the folder of a pod's service account.
    """
    environment = os.environ if environment is None else environment
    # Imported late: it takes a quarter of a second, and most commands never talk to a cluster.
    library: Any = import_module("kubernetes_asyncio.config")
    found: Any = import_module("kubernetes_asyncio.client").Configuration()
    try:
        if settings.kubeconfig is None and settings.context is None and in_a_pod(environment):
            loader: Any = import_module("kubernetes_asyncio.config.incluster_config").InClusterConfigLoader
            files = {"token_filename": str(account / "token"), "cert_filename": str(account / "ca.crt")}
            loader(**files, environ=environment).load_and_set(found)
        else:
            await library.load_kube_config(
                config_file=_kubeconfig(settings, environment),
                context=settings.context,
                client_configuration=found,
                persist_config=False,
            )
    except NotSent:
        raise
    except Exception as error:
        raise NotSent(f"{_NO_WAY}: {_words(error)}") from error
    if settings.ca_file is not None:
        found.ssl_ca_cert, found.verify_ssl = str(settings.ca_file), True
    if settings.url is not None:
        found.host = settings.url
    found.proxy = settings.proxy or found.proxy or _proxy(str(found.host), environment)
    url = str(found.host).rstrip("/")
    return Access(
        url=url, ssl=_trust(found), configuration=found, extra=_extra(found), mark=_mark(found, url)
    )


def in_a_pod(environment: Mapping[str, str] | None = None) -> bool:
    """Whether this process has a service account of a cluster."""
    found = os.environ if environment is None else environment
    return "KUBERNETES_SERVICE_HOST" in found


def own_namespace(path: Path = SERVICE_ACCOUNT / "namespace") -> str | None:
    """The namespace of the pod this runs in; `None` outside of a cluster."""
    try:
        return path.read_text("utf-8").strip() or None
    except OSError:
        return None


def _kubeconfig(settings: ClusterSettings, environment: Mapping[str, str]) -> str:
    """The file that kubectl would read; several of them joined by colons as in `$KUBECONFIG`."""
    if settings.kubeconfig is not None:
        named = str(settings.kubeconfig)
    else:
        named = environment.get("KUBECONFIG") or str(Path(environment.get("HOME", "~"), ".kube", "config"))
    if not any(Path(one).expanduser().is_file() for one in named.split(os.pathsep) if one):
        raise NotSent(
            f"{_NO_WAY}: there is no kubeconfig at {named}, and this is no pod with a service account"
        )
    return named


def _proxy(host: str, environment: Mapping[str, str]) -> str | None:
    """The environment's proxy for the API server, as everybody else reads it."""
    url = URL(host)
    spared = [one.strip() for one in _variable(environment, "no_proxy").split(",")]
    if any(_spares(one, url.host or "") for one in spared if one):
        return None
    return _variable(environment, f"{url.scheme}_proxy") or None


def _spares(entry: str, host: str) -> bool:
    """Whether an entry of `$NO_PROXY` is about a host: a name with all below it, an address, or a network of them."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        name = entry.partition(":")[0].strip("*").strip(".").lower()
        return entry == "*" or (bool(name) and f".{host.lower()}".endswith(f".{name}"))


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _trust(found: Any) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=found.ssl_ca_cert)
        if found.cert_file:
            context.load_cert_chain(found.cert_file, keyfile=found.key_file)
    except (OSError, ssl.SSLError) as error:
        raise NotSent(f"{_NO_WAY}: its certificates cannot be used: {_words(error)}") from error
    # Clusters made by older tools have authorities without the extensions that strict checks ask for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not found.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _extra(found: Any) -> dict[str, Any]:
    extra: dict[str, Any] = {"server_hostname": found.tls_server_name} if found.tls_server_name else {}
    if found.proxy:
        proxy = URL(str(found.proxy))
        if proxy.scheme not in {"http", "https"}:
            raise NotSent(f"{_NO_WAY}: a proxy must be an http:// or https:// one")
        # Apart, so that no error shows it.
        if proxy.user is not None:
            pair = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
            extra["proxy_headers"] = {"Proxy-Authorization": f"Basic {pair}"}
        extra["proxy"] = proxy.with_user(None)
    return extra


def _mark(found: Any, url: str) -> str:
    """A mark of everything that a connection is made with."""
    digest = hashlib.sha256(repr((url, found.verify_ssl, found.tls_server_name, found.proxy)).encode())
    for path in (found.ssl_ca_cert, found.cert_file, found.key_file):
        digest.update(Path(path).read_bytes() if path else b"-")
    return digest.hexdigest()


def _words(error: Exception) -> str:
    """What went wrong, without anything of what was read: it may be a credential."""
    if isinstance(error, yaml.MarkedYAMLError):
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        return f"the kubeconfig is not YAML in line {line}"
    if isinstance(error, ssl.SSLError):
        return error.reason or "not usable"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if type(error).__name__ == "ConfigException":
        return str(error)
    return type(error).__name__
