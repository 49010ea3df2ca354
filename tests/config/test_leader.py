"""The `leader` block: alone, or one of several on a PostgreSQL store."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.config.conftest import Draft
from watchdog.config.loaded import Leader
from watchdog.leader.kubernetes_lease import LeaseSettings
from watchdog.leader.postgres import PostgresSettings

POSTGRES = 'store: {url: "postgresql://watchdog@db/state"}\n'


@pytest.mark.parametrize("leader", ["", "leader: {kind: single}\n"])
def test_alone_is_what_is_meant_when_nothing_is_said(draft: Draft, leader: str) -> None:
    loaded = draft.insert(leader).load()
    assert loaded.leader == Leader()
    assert loaded.leader.alone
    assert loaded.notes == ()


def test_a_lease_is_that_of_client_go_unless_something_else_is_said(draft: Draft) -> None:
    draft.insert(POSTGRES + "leader: {kind: kubernetes-lease}\n")
    leader = draft.load({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).leader
    assert not leader.alone
    settings = leader.settings
    assert isinstance(settings, LeaseSettings)
    assert (settings.namespace, settings.name, settings.identity) == (None, "rollback-watchdog", None)
    times = (settings.lease, settings.renew, settings.retry)
    assert times == (timedelta(seconds=15), timedelta(seconds=10), timedelta(seconds=2))


def test_a_lock_takes_the_same_times(draft: Draft) -> None:
    draft.insert(POSTGRES + "leader: {kind: postgres, lease: 30s, renew: 20s, retry: 1s, identity: one}\n")
    loaded = draft.load()
    assert loaded.leader.settings == PostgresSettings(
        lease=timedelta(seconds=30),
        renew=timedelta(seconds=20),
        retry=timedelta(seconds=1),
        identity="one",
    )
    assert loaded.notes == ()


@pytest.mark.parametrize(
    ("leader", "said"),
    [
        ("single", "watchdog.yaml:19:9: expected a mapping with `kind`, found 'single'"),
        (
            "{}",
            "watchdog.yaml:19:9: missing key 'kind' (known kinds of leader: kubernetes-lease, postgres, single)",
        ),
        (
            "{kind: postgress}",
            "watchdog.yaml:19:16: unknown leader kind 'postgress'; did you mean 'postgres'?",
        ),
        ("{kind: single, name: x}", "watchdog.yaml:19:24: unknown key 'name'"),
        ("{kind: postgres, name: x}", "watchdog.yaml:19:26: unknown key 'name'"),
        (
            "{kind: postgres, renew: 20s}",
            "watchdog.yaml:19:33: `renew` (20s) must be shorter than `lease` (15s)",
        ),
        (
            "{kind: postgres, lease: 10s}",
            "watchdog.yaml:19:33: `renew` (10s) must be shorter than `lease` (10s)",
        ),
        (
            "{kind: postgres, retry: 10s}",
            "watchdog.yaml:19:33: `retry` (10s) must be shorter than `renew` (10s)",
        ),
        ("{kind: postgres, lease: 0s}", "watchdog.yaml:19:33: "),
        ("{kind: kubernetes-lease, name: UPPER}", "watchdog.yaml:19:40: "),
        ("{kind: postgres, identity: 'a b'}", "watchdog.yaml:19:36: "),
    ],
)
def test_a_mistake_is_told_at_its_place(draft: Draft, leader: str, said: str) -> None:
    (problem, *_) = draft.insert(POSTGRES + f"leader: {leader}\n").problems()
    assert problem.startswith(said)


@pytest.mark.parametrize("kind", ["postgres", "kubernetes-lease"])
def test_a_file_is_no_store_for_several(draft: Draft, kind: str) -> None:
    (problem,) = draft.insert(f"leader: {{kind: {kind}}}\n").problems()
    assert problem.startswith(
        f"watchdog.yaml:18:16: '{kind}' is for several watchdogs, which need a PostgreSQL store"
    )


def test_a_switch_that_cannot_refuse_a_stale_write_has_one_writer(draft: Draft) -> None:
    switch = """{kind: nginx, upstream_file: /etc/nginx/u.conf, upstream: trips,
      variants: {blue: "127.0.0.1:8081", green: "127.0.0.1:8082"},
      ready: {kind: http, url: "http://{address}/", timeout: 2s}}
"""
    at = draft.main.index("    traffic:")
    end = draft.main.index("channels:")
    draft.main = draft.main[:at] + f"    traffic: {switch}" + draft.main[end:]
    assert draft.problems() == []
    draft.insert(POSTGRES + "leader: {kind: postgres}\n")
    (problem,) = draft.problems()
    assert problem.startswith("watchdog.yaml:9:14: a switch of kind 'nginx' cannot refuse a stale write")
    assert "single writer only" in problem


def test_a_database_alone_keeps_nobody_away(draft: Draft) -> None:
    (note,) = draft.insert(POSTGRES).notes()
    assert note.startswith("watchdog.yaml:18:14: nothing keeps a second watchdog from this store")


def test_outside_of_a_cluster_a_lease_wants_to_be_told_where_it_is(draft: Draft) -> None:
    draft.insert(POSTGRES + "leader: {kind: kubernetes-lease}\n")
    kubeconfig, namespace = draft.notes()
    assert kubeconfig.endswith("the kubeconfig that kubectl would use is taken")
    assert namespace.endswith("there is no own namespace, and `run` wants one: `namespace: …`")
    draft.replace("{kind: kubernetes-lease}", "{kind: kubernetes-lease, namespace: prod}")
    (draft.folder / "kube.config").write_text("apiVersion: v1\nkind: Config\n")
    draft.insert("kubernetes: {kubeconfig: kube.config}\n")
    assert draft.notes() == []
