"""How the way into a cluster is found: kubeconfig, service account, proxies, and words for what is missing."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from tests.servers.certificates import Certificate
from watchdog.cluster.access import Access, find_access, in_a_pod, own_namespace
from watchdog.cluster.errors import NotSent
from watchdog.cluster.settings import ClusterSettings

TOKEN = "tell-nobody-of-this-token"
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def account(tmp_path: Path, certificate: Certificate) -> Path:
    """The folder of a pod's service account."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "ca.crt").write_bytes(certificate.file.read_bytes())
    (folder / "namespace").write_text("prod\n")
    return folder


@pytest.fixture
def write(tmp_path: Path, certificate: Certificate) -> Callable[..., Path]:
    """`write(user, server=…, **cluster)`: a kubeconfig with the contexts `one` (the current) and `two`."""

    def make(user: dict[str, Any] | None = None, **cluster: Any) -> Path:
        cluster = {"server": "https://one.example", "certificate-authority": str(certificate.file), **cluster}
        other = {**cluster, "server": "https://two.example"}
        found = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "one", "cluster": cluster}, {"name": "two", "cluster": other}],
            "users": [{"name": "me", "user": {"token": TOKEN} if user is None else user}],
            "contexts": [
                {"name": name, "context": {"cluster": name, "user": "me"}} for name in ("one", "two")
            ],
            "current-context": "one",
        }
        path = tmp_path / "config"
        path.write_text(json.dumps(found))
        return path

    return make


async def find(
    account: Path = Path("/nowhere"), environment: dict[str, str] | None = None, **settings: Any
) -> Access:
    return await find_access(
        ClusterSettings.model_validate(settings), environment=environment or {}, account=account
    )


async def test_a_kubeconfig_is_followed(write: Callable[..., Path]) -> None:
    access = await find(kubeconfig=write())
    assert access.url == "https://one.example"
    assert await access.headers() == {"Authorization": f"Bearer {TOKEN}"}


async def test_another_context_is_another_cluster(write: Callable[..., Path]) -> None:
    assert (await find(kubeconfig=write(), context="two")).url == "https://two.example"


async def test_the_environment_names_the_kubeconfig(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write()
    assert (await find(environment={"KUBECONFIG": f"{tmp_path}/missing:{path}"})).url == "https://one.example"
    home = tmp_path / "home" / ".kube"
    home.mkdir(parents=True)
    path.rename(home / "config")
    assert (await find(environment={"HOME": str(home.parent)})).url == "https://one.example"


async def test_a_pod_uses_its_service_account(account: Path) -> None:
    access = await find(account, POD)
    assert access.url == "https://10.0.0.1:443"
    assert await access.headers() == {"Authorization": f"Bearer {TOKEN}"}
    assert in_a_pod(POD)
    assert own_namespace(account / "namespace") == "prod"


async def test_a_token_that_was_rotated_in_its_file_is_found_anew(account: Path) -> None:
    await find(account, POD)
    (account / "token").write_text("another")
    assert await (await find(account, POD)).headers() == {"Authorization": "Bearer another"}


async def test_a_kubeconfig_that_is_named_counts_in_a_pod_too(
    account: Path, write: Callable[..., Path]
) -> None:
    assert (await find(account, POD, kubeconfig=write())).url == "https://one.example"


async def test_a_plugin_is_asked_for_credentials(write: Callable[..., Path], tmp_path: Path) -> None:
    version = "client.authentication.k8s.io/v1"
    answer = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": TOKEN}}
    (tmp_path / "answer").write_text(json.dumps(answer))
    user = {"exec": {"apiVersion": version, "command": "cat", "args": [str(tmp_path / "answer")]}}
    assert await (await find(kubeconfig=write(user))).headers() == {"Authorization": f"Bearer {TOKEN}"}


async def test_a_client_certificate_needs_no_token(
    write: Callable[..., Path], certificate: Certificate
) -> None:
    user = {"client-certificate": str(certificate.file), "client-key": str(certificate.key)}
    assert await (await find(kubeconfig=write(user))).headers() == {}


@pytest.mark.parametrize(
    ("token", "header"),
    [("", {}), ("abc\n", {"Authorization": "Bearer abc"}), (" abc ", {"Authorization": "Bearer abc"})],
)
async def test_what_stands_around_a_token_does_not_count(
    account: Path, token: str, header: dict[str, str]
) -> None:
    (account / "token").write_text(token or "-")
    access = await find(account, POD)
    if not token:
        access.configuration.api_key.clear()
        access.configuration.refresh_api_key_hook = None
    assert await access.headers() == header


async def test_a_token_that_no_header_can_carry_is_not_sent(account: Path) -> None:
    (account / "token").write_text(f"{TOKEN}\r\nX-Other: 1")
    access = await find(account, POD)
    with pytest.raises(NotSent, match="no HTTP header can carry") as told:
        await access.headers()
    assert TOKEN not in str(told.value)


async def test_nothing_at_all_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(NotSent, match=r"no kubeconfig at .*config, and this is no pod"):
        await find(environment={"HOME": str(tmp_path)})


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
async def test_half_a_service_account_is_said_in_words(account: Path, missing: str) -> None:
    (account / missing).unlink()
    with pytest.raises(NotSent, match=r"no way into the cluster: Service .* does not exist"):
        await find(account, POD)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"token: [{TOKEN}", "not YAML in line"),
        ("[]", "no way into the cluster"),
        ("{}", "no way into the cluster"),
        ('{"current-context": "gone", "contexts": [], "clusters": [], "users": []}', "gone"),
        (f"users: {TOKEN}", "no way into the cluster"),
    ],
)
async def test_a_broken_kubeconfig_is_said_without_showing_it(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(NotSent, match=words) as told:
        await find(kubeconfig=path)
    assert TOKEN not in f"{told.value}"


async def test_a_plugin_that_is_not_there_is_said(write: Callable[..., Path]) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/nowhere/plugin"}}
    with pytest.raises(NotSent, match="/nowhere/plugin: No such file"):
        await find(kubeconfig=write(user))


async def test_a_file_that_holds_no_authorities_is_said(write: Callable[..., Path], tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("nothing")
    with pytest.raises(NotSent, match="its certificates cannot be used"):
        await find(kubeconfig=write(), ca_file=wrong)


async def test_authorities_that_are_named_are_insisted_on(
    write: Callable[..., Path], certificate: Certificate
) -> None:
    loose = await find(kubeconfig=write(**{"insecure-skip-tls-verify": True}))
    strict = await find(kubeconfig=write(**{"insecure-skip-tls-verify": True}), ca_file=certificate.file)
    assert (loose.ssl.verify_mode, strict.ssl.verify_mode) == (ssl.CERT_NONE, ssl.CERT_REQUIRED)
    assert loose.mark != strict.mark


async def test_the_address_can_be_another_one(write: Callable[..., Path]) -> None:
    assert (await find(kubeconfig=write(), url="https://127.0.0.1:6443/")).url == "https://127.0.0.1:6443"


ENV = {"https_proxy": "http://env.example:3128"}


@pytest.mark.parametrize(
    ("settings", "cluster", "environment", "proxy"),
    [
        ({}, {}, {}, None),
        (
            {"proxy": "http://own.example:1"},
            {"proxy-url": "http://file.example:2"},
            ENV,
            "http://own.example:1",
        ),
        ({}, {"proxy-url": "http://file.example:2"}, ENV, "http://file.example:2"),
        ({}, {}, ENV, "http://env.example:3128"),
        ({}, {}, {"HTTPS_PROXY": "http://env.example:3128"}, "http://env.example:3128"),
        ({}, {}, {"HTTP_PROXY": "http://env.example:3128"}, None),
        ({}, {}, {**ENV, "NO_PROXY": "localhost, .example"}, None),
        ({}, {}, {**ENV, "no_proxy": "one.example:443"}, None),
        ({}, {}, {**ENV, "no_proxy": "*"}, None),
        ({}, {}, {**ENV, "no_proxy": "ne.example,10.0.0.0/8,,"}, "http://env.example:3128"),
        ({"url": "https://10.2.3.4"}, {}, {**ENV, "no_proxy": "10.0.0.0/8"}, None),
        ({"url": "https://11.2.3.4"}, {}, {**ENV, "no_proxy": "10.0.0.0/8"}, "http://env.example:3128"),
    ],
)
async def test_which_proxy_is_used(
    write: Callable[..., Path],
    settings: dict[str, str],
    cluster: dict[str, str],
    environment: dict[str, str],
    proxy: str | None,
) -> None:
    given: dict[str, Any] = {"kubeconfig": write(**cluster), **settings}
    access = await find(environment=environment, **given)
    assert access.extra.get("proxy") == (None if proxy is None else URL(proxy))


async def test_a_proxy_of_another_kind_is_said(write: Callable[..., Path]) -> None:
    with pytest.raises(NotSent, match="http:// or https://"):
        await find(kubeconfig=write(**{"proxy-url": "socks5://user:hidden@proxy.example"}))


async def test_nothing_of_the_way_in_is_shown(write: Callable[..., Path]) -> None:
    access = await find(kubeconfig=write(**{"proxy-url": "http://user:hidden@proxy.example"}))
    assert TOKEN not in repr(access)
    assert "hidden" not in repr(access)
    assert access.extra["proxy"] == URL("http://proxy.example")
    assert access.extra["proxy_headers"] == {"Proxy-Authorization": "Basic dXNlcjpoaWRkZW4="}


async def test_the_same_way_has_the_same_mark(write: Callable[..., Path], account: Path) -> None:
    assert (await find(kubeconfig=write())).mark == (await find(kubeconfig=write({"token": "other"}))).mark
    assert (await find(kubeconfig=write())).mark != (await find(kubeconfig=write(), context="two")).mark
