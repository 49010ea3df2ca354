"""The way into a cluster, as kubernetes-asyncio finds it. The only module that imports it.

This module must never keep a credential longer than the library does, nor write a kubeconfig.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from watchdog.cluster.errors import NotSent
from watchdog.cluster.settings import ClusterSettings


@dataclass(frozen=True, slots=True)
class Access:
    """Address and credentials. `extra` goes into every request: a proxy, or another name for TLS."""

    url: str
    ssl: ssl.SSLContext
    configuration: Any = field(repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict)

    async def headers(self) -> dict[str, str]:
        """The headers that say who we are; a token that is read from a file is read again when it may have changed."""
        auth = (await self.configuration.auth_settings()).get("BearerToken")
        return {} if auth is None or not auth["value"] else {"Authorization": auth["value"]}


async def find_access(settings: ClusterSettings, *, environment: Mapping[str, str] | None = None) -> Access:
    """Credentials and address by `settings`. Raises `NotSent` in words when there are none."""
    # Imported late: it takes a quarter of a second, and most commands never talk to a cluster.
    library: Any = import_module("kubernetes_asyncio.config")
    found: Any = import_module("kubernetes_asyncio.client").Configuration()
    inside = "KUBERNETES_SERVICE_HOST" in (os.environ if environment is None else environment)
    try:
        if settings.kubeconfig is None and settings.context is None and inside:
            library.load_incluster_config(client_configuration=found)
        else:
            await library.load_kube_config(
                config_file=None if settings.kubeconfig is None else str(settings.kubeconfig),
                context=settings.context,
                client_configuration=found,
                persist_config=False,
            )
    except (library.ConfigException, OSError, ValueError) as error:
        raise NotSent(f"no way into the cluster: {error}") from error
    if settings.ca_file is not None:
        found.ssl_ca_cert = str(settings.ca_file)
    if settings.url is not None:
        found.host = settings.url
    if settings.proxy is not None:
        found.proxy = settings.proxy
    return Access(
        url=str(found.host).rstrip("/"), ssl=_trust(found), configuration=found, extra=_extra(found)
    )


def _trust(found: Any) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=found.ssl_ca_cert)
        if found.cert_file:
            context.load_cert_chain(found.cert_file, keyfile=found.key_file)
    except (OSError, ssl.SSLError) as error:
        raise NotSent(f"no way into the cluster: its certificates cannot be used: {error}") from error
    # Clusters made by older tools have authorities without the extensions that strict checks ask for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not found.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _extra(found: Any) -> dict[str, Any]:
    extra = {"proxy": found.proxy, "server_hostname": found.tls_server_name}
    return {name: value for name, value in extra.items() if value}
