"""How to reach the cluster: the top-level `kubernetes:` of the configuration.

Left out, a pod uses its service account, and everybody else the kubeconfig that kubectl would use. This module must
never read a file.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from yarl import URL

from watchdog.settings.model import PositiveDuration, Settings


def _address(value: str) -> str:
    try:
        url = URL(value)
    except ValueError as error:
        raise ValueError(f"not a usable address: {error}") from None
    if not url.host:
        raise ValueError("an address names a host")
    if url.user or url.password:
        raise ValueError(
            "a user name or password is not written here; the kubeconfig may have it (`proxy-url`)"
        )
    return value


_Address = Annotated[str, Field(pattern=r"^https?://[^\s]+$"), AfterValidator(_address)]


class ClusterSettings(Settings):
    """`kubernetes:` at the top level."""

    kubeconfig: Path | None = None
    """A kubeconfig file. Left out: the service account inside a pod, else `$KUBECONFIG` or `~/.kube/config`."""
    context: str | None = None
    """A context of the kubeconfig other than its current one."""
    url: _Address | None = None
    """Address of the API server instead of the one that the kubeconfig or the pod names."""
    proxy: _Address | None = None
    """An HTTP proxy in front of the API server; `$HTTPS_PROXY` and `$NO_PROXY` hold as well."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the kubeconfig's or the pod's."""
    timeout: PositiveDuration = timedelta(seconds=5)
    """Longest time for one call; a switch's own `timeout` may be shorter."""
