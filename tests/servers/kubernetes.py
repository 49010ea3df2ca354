"""A real Kubernetes API on loopback: etcd, kube-apiserver and kube-controller-manager, without nodes.

Binaries as envtest has them, in `KUBEBUILDER_ASSETS` or `/usr/local/kubebuilder/bin`; etcd and kubectl may be Debian's.
Without them the tests marked `kubernetes` are skipped, loudly. There is no kubelet:
`tests.servers.kubelet` says what becomes of pods.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import ssl
import subprocess
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import pytest

from tests.servers.certificates import Certificate
from tests.servers.ports import free_port
from tests.servers.process import Process, answers
from tests.servers.require import ASSETS, MISSING
from watchdog.cluster.objects import Kind

_ASSETS = Path("/usr/local/kubebuilder/bin")
TOKEN = "admin-token"
#: Controllers that the tests rely on; each fewer is less noise.
_CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
)


def found(name: str) -> str | None:
    """The path of a Kubernetes binary, if it is there."""
    assets = Path(os.environ.get(ASSETS) or _ASSETS)
    return shutil.which(name, path=str(assets)) or shutil.which(name)


def binary(name: str) -> str:
    """The path of a Kubernetes binary; skips the test without it, whatever else is required."""
    path = found(name)
    if path is None:
        _do_without(name)
    return path


def _do_without(name: str) -> NoReturn:
    pytest.skip(f"{MISSING}: {name}: put it into {_ASSETS}, or name its folder in {ASSETS}")


class Kubernetes:
    """A context manager around the three; `kubeconfig` is an administrator's."""

    def __init__(self, folder: Path, *, controllers: bool = True) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._numbers = itertools.count(1)
        self._kubectl = binary("kubectl")
        programs = binary("etcd"), binary("kube-apiserver")
        manager = binary("kube-controller-manager") if controllers else None
        self.certificate = Certificate(folder, names="IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc")
        self.kubeconfig = self.write_kubeconfig("admin", TOKEN)
        self._trust = ssl.create_default_context(cafile=str(self.certificate.file))
        (folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        self.etcd = self._etcd(programs[0])
        self.api = self._api(programs[1])
        self.manager = None if manager is None else self._manager(manager)

    @staticmethod
    def there() -> bool:
        """Whether its binaries are."""
        return all(found(name) for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl"))

    def _etcd(self, program: str) -> Process:
        self._etcd_port = free_port()
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        words = [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]
        return Process(
            [program, *words],
            log=self.folder / "etcd.log",
            ready=answers(self._etcd_port, "/health"),
            within=30.0,
        )

    def _api(self, program: str) -> Process:
        key, certificate = self.certificate.key, self.certificate.file
        words = [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.folder}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--service-account-key-file={certificate}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
        ]
        # It ends slowly on SIGTERM, and not at all without its etcd.
        return Process(
            [program, *words], log=self.folder / "api.log", ready=self._ready, within=60.0, grace=0.1
        )

    def _manager(self, program: str) -> Process:
        words = [
            f"--kubeconfig={self.kubeconfig}",
            f"--controllers={','.join(_CONTROLLERS)}",
            f"--service-account-private-key-file={self.certificate.key}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
            "--use-service-account-credentials=false",
        ]
        return Process([program, *words], log=self.folder / "manager.log", within=30.0, grace=0.1)

    def write_kubeconfig(self, name: str, token: str) -> Path:
        """A kubeconfig of somebody who shows `token`."""
        path = self.folder / f"{name}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.certificate.file)}
        found = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": "local", "user": name}}],
            "current-context": name,
        }
        path.write_text(json.dumps(found))
        return path

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl prints (its errors, too, unless `check`). Raises RuntimeError with its words."""
        done = subprocess.run(
            [self._kubectl, f"--kubeconfig={self.kubeconfig}", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "HOME": str(self.folder)},
        )
        if check and done.returncode:
            raise RuntimeError(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Create or change objects."""
        listed = {"apiVersion": "v1", "kind": "List", "items": manifests}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def get(self, *words: str) -> Any:
        """One object or list, decoded."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def written(self, kind: Kind[Any], namespace: str, name: str) -> int:
        """How often an object was written since it came to be, by etcd's count; the first time is one."""
        places = {"services": "services/specs", "ingresses": "ingress"}
        own = kind.group.endswith(".k8s.io") and kind.group.count(".") == 2
        group = f"{kind.group}/" if "." in kind.group and not own else ""
        key = f"/registry/{group}{places.get(kind.plural, kind.plural)}/{namespace}/{name}"
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self._etcd_port}/v3/kv/range",
            data=json.dumps({"key": base64.b64encode(key.encode()).decode()}).encode(),
        )
        with urllib.request.urlopen(asked, timeout=10.0) as answer:  # noqa: S310 - our own address
            found = json.loads(answer.read()).get("kvs")
        assert found, f"etcd has no {key}"
        return int(found[0]["version"])

    def namespace(self, prefix: str = "t") -> str:
        """A new namespace."""
        name = f"{prefix}-{os.getpid()}-{next(self._numbers)}"
        self.kubectl("create", "namespace", name)
        return name

    def service_account(self, namespace: str, name: str, rules: list[dict[str, Any]]) -> str:
        """A token of a new service account with these rules in its namespace and none elsewhere."""
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        group = "rbac.authorization.k8s.io"
        where = {"name": name, "namespace": namespace}
        self.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": where},
            {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": where, "rules": rules},
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": where,
                "subjects": [subject],
                "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            },
        )
        return self.kubectl("create", "token", name, "-n", namespace).strip()

    def _ready(self) -> bool:
        asked = urllib.request.Request(  # noqa: S310 - https alone
            f"{self.url}/readyz", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=2.0, context=self._trust) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False

    def __enter__(self) -> Self:
        try:
            self.etcd.start()
            self.api.start()
            if self.manager is not None:
                self.manager.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """The API server before its etcd: without it, it ends only by SIGKILL. Idempotent."""
        for process in (self.manager, self.api, self.etcd):
            if process is not None:
                process.stop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
