"""README.md and docs/: every command runs and prints what is shown, every file loads, every table is the code's."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from typer.core import TyperGroup
from typer.main import get_command

from tests.docs import messages
from tests.docs.normalise import normalised
from tests.docs.pages import PAGES, ROOT, Block, blocks_of, commands_of, name_of, tables_of
from tests.docs.player import Demo, Player
from tests.docs.reference import model_of, table, tables
from tests.docs.webhook import sent, shown
from tests.servers.certificates import Certificate
from tests.servers.nginx import Nginx
from tests.servers.require import require
from watchdog.channels.rendering import Rendering
from watchdog.channels.webhook import sign
from watchdog.cli.main import app
from watchdog.config import schema, serving
from watchdog.config.check import check
from watchdog.traffic.nginx_text import servers_of

pytestmark = pytest.mark.timeout(120)

PAGE = pytest.mark.parametrize("page", PAGES, ids=name_of)
KINDS = {
    *("console", "console demo", "console make", "console install", "http demo"),
    *("yaml", "yaml rules", "yaml sections", "haproxy", "python receiver", "json webhook"),
    *messages.KINDS,
    *("console kubernetes", "yaml kubernetes", "text escalation"),
    "yaml tests",
    *("nginx", "text", "console shell", "python", "bash", "yaml pipeline", "yaml prometheus"),
}
SECRETS = {
    "WATCHDOG_TOKEN": "t" * 32,
    "WATCHDOG_HOOK_SECRET": "s" * 32,
    "PROMETHEUS_TOKEN": "p" * 32,
    "SMTP_PASSWORD": "m" * 16,
    "SLACK_BOT_TOKEN": "xoxb-0000000000-xxxxxxxxxxxx",
    "SLACK_APP_TOKEN": "xapp-0000000000-xxxxxxxxxxxx",
    "SLACK_SIGNING_SECRET": "g" * 32,
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T00000000/B00000000/xxxxxxxxxxxxxxxxxxxxxxxx",
    "SMS_TOKEN": "k" * 32,
    "PAGERDUTY_KEY": "c0ffee00" * 4,
    "HEARTBEAT_URL": "https://hc.example.com/ping/00000000-0000-4000-8000-000000000000",
    "PAGERDUTY_TOKEN": "r" * 20,
    "PAGERDUTY_WEBHOOK_SECRET": "w" * 32,
    "TEAMS_URL": "https://prod-00.westeurope.logic.azure.com/workflows/x/triggers/manual/paths/invoke?sig=x",
}
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def blocks(kind: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{name_of(page)}:{block.line}")
        for page in PAGES
        for block in blocks_of(page.read_text())
        if block.kind == kind
    ]


@pytest.mark.timeout(400)  # the pages that wait for versions to become stable, on a busy machine
@PAGE
def test_every_command_prints_what_the_page_shows(
    page: Path, tmp_path: Path, kept_demo: Callable[[], Demo]
) -> None:
    for one in Player(folder=tmp_path, demo=kept_demo).play(page.read_text()):
        where = f"{page.name}, line {one.block.line}; when it is meant to be so: python -m tests.docs.rewrite"
        assert one.same, f"{where}\n--- shown\n{one.block.text}\n--- printed\n{one.text}"


@PAGE
def test_every_block_is_of_a_kind_that_is_checked(page: Path) -> None:
    for block in blocks_of(page.read_text()):
        assert block.kind in KINDS, f"{page.name}, line {block.line}: {block.kind!r}"
        assert block.file or block.kind not in {"yaml", "python", "bash"}, (
            f"{page.name}, line {block.line}: no file="
        )


@PAGE
def test_every_table_of_keys_is_made_from_the_code(page: Path) -> None:
    for name, text in tables_of(page.read_text()).items():
        assert text == table(name), f"{name}: python -m tests.docs.rewrite"


def test_every_key_of_the_configuration_stands_in_a_table() -> None:
    found = [name for page in PAGES for name in tables_of(page.read_text())]
    assert sorted(found) == sorted(tables())


def test_every_model_that_reads_a_configuration_has_a_table() -> None:
    others = {"endpoints", "metrics", "template names", "happenings"}
    known = {model_of(name) for name in tables() if not name.startswith("pack ") and name not in others}
    known_names = {**vars(schema), **vars(serving)}
    shapes = {it for it in known_names.values() if isinstance(it, type) and issubclass(it, BaseModel)}
    said_in_words = {schema.RulesFileShape, serving.TagShape}  # `version` with `rules`, and `{tag: TAG}`
    assert {it for it in shapes if it.__name__.endswith("Shape")} - said_in_words <= known
    for model in known:
        for info in model.model_fields.values():
            assert set(models_in(info.annotation)) <= known, f"{model.__name__}: {info}"


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation names, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from models_in(one)


@PAGE
def test_every_file_shown_is_good(page: Path, tmp_path: Path) -> None:
    files = {block.file: block.text for block in blocks_of(page.read_text()) if block.kind == "yaml"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    if "watchdog.yaml" in files:
        assert not check(tmp_path / "watchdog.yaml", SECRETS).problems
    elif files:
        loads(tmp_path, {"services": [{**service(), "rules": names_in(files["rules.yaml"])}]})


def names_in(rules: str) -> list[str]:
    return [rule["name"] for rule in yaml.safe_load(rules)["rules"]]


@pytest.mark.parametrize("block", blocks("yaml rules"))
def test_every_rule_shown_is_a_good_rule(block: Block, tmp_path: Path) -> None:
    indented = "".join(f"  {line}" for line in block.text.splitlines(keepends=True))
    (tmp_path / "rules.yaml").write_text(f"version: 1\nrules:\n{indented}")
    names = names_in((tmp_path / "rules.yaml").read_text())
    loads(tmp_path, {"services": [{**service(), "rules": ["filler", *names]}]})


@pytest.mark.parametrize("block", blocks("yaml sections"))
def test_every_part_of_a_configuration_shown_is_good(block: Block, tmp_path: Path) -> None:
    keys = [line.partition(":")[0] for line in block.text.splitlines() if re.match(r"\w", line)]
    loads(tmp_path, {}, instead=(keys, block.text))


def service() -> dict[str, Any]:
    traffic = {
        "kind": "haproxy",
        "socket": "/run/haproxy/admin.sock",
        "backend": "trips",
        "variants": {"blue": "srv_blue", "green": "srv_green"},
    }
    return {"name": "trips", "labels": {"team": "booking"}, "rules": ["filler"], "traffic": traffic}


FILLER = """version: 1
rules:
  - name: filler
    tags: [web]
    ratio:                             # of a metric that any kind of source may have
      bad: kube_pod_container_status_restarts_total{version="$version",container="app"}
      total: kube_pod_container_status_restarts_total{version="$version"}
    threshold: {critical: 1%, rollback: 150%}
  - name: healthy
    probe: {kind: http, url: "http://$service.internal/healthz"}
    threshold: {critical: 3 failures, rollback: 5 failures}
"""


def loads(folder: Path, over: dict[str, Any], *, instead: tuple[list[str], str] = ([], "")) -> None:
    """A complete configuration has no mistake with other values for some keys, or with others in place of some keys."""
    keys, text = instead
    whole: dict[str, Any] = {
        "version": 1,
        "sources": {"prometheus": {"kind": "prometheus", "url": "http://127.0.0.1:9090"}},
        "services": [service()],
        "channels": {"log": {"kind": "log"}},
        "routes": [{"to": ["log"]}],
        **over,
    }
    (folder / "filler.yaml").write_text(FILLER)
    whole["rules"] = [name for name in ("rules.yaml", "filler.yaml") if (folder / name).exists()]
    if "ca.pem" in text:  # authorities are opened when a configuration is read
        Certificate(folder).file.rename(folder / "ca.pem")
    for name in ("token", "password"):
        (folder / name).write_text("a-secret-that-is-long-enough")
        (folder / name).chmod(0o600)
    rest = yaml.safe_dump({key: value for key, value in whole.items() if key not in keys})
    (folder / "watchdog.yaml").write_text(rest + text)
    checked = check(folder / "watchdog.yaml", SECRETS)
    assert not checked.problems, "\n".join(map(str, checked.problems))


@pytest.mark.parametrize("block", blocks("haproxy"))
def test_every_part_of_an_haproxy_configuration_is_good(block: Block, tmp_path: Path) -> None:
    text = block.text.replace("/run/haproxy/admin.sock", str(tmp_path / "admin.sock"))
    text = re.sub(r" user \w+ group \w+", "", text)
    (tmp_path / "haproxy.cfg").write_text(text)
    done = subprocess.run(
        [require("haproxy"), "-c", "-f", str(tmp_path / "haproxy.cfg")],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks("nginx"))
def test_every_upstream_shown_is_good_for_nginx_and_for_the_switch(block: Block, tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, {})
    nginx.file.write_text(block.text)
    done = subprocess.run(nginx.test_argv, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 0, done.stderr
    servers = servers_of(block.text, "trips")
    assert [server.down for server in servers] == [False, True]


@pytest.mark.parametrize("block", blocks("yaml prometheus"))
def test_every_configuration_of_prometheus_is_good(block: Block, tmp_path: Path) -> None:
    shutil.copy(ROOT / "docs/prometheus-alerts.yaml", tmp_path)
    (tmp_path / "prometheus.yml").write_text(block.text)
    words = [require("promtool"), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", blocks("yaml pipeline"))
def test_every_command_of_a_pipeline_is_one(block: Block) -> None:
    found = list(texts_of(yaml.safe_load(block.text), "watchdog "))
    assert any("--wait" in words for words in found)
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for _, name, *rest in map(shlex.split, found):
        command = group.commands[name]
        with command.make_context(name, rest) as context:
            assert context.params["service"] == "shop"


def texts_of(value: Any, beginning: str) -> Iterator[str]:
    """Every text in there that begins so."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts_of(one, beginning)
    elif isinstance(value, str) and value.startswith(beginning):
        yield value


@pytest.mark.parametrize("block", blocks("console make"))
def test_every_target_of_make_exists(block: Block) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in commands_of(block.text):
        make, target, *_ = shlex.split(command.words)
        assert make == "make"
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
        assert not command.shown


@pytest.mark.parametrize("block", blocks("console install"))
def test_the_installation_works(block: Block, tmp_path: Path) -> None:
    # Offline: what the package needs is taken from the environment of the tests, not from an index.
    site = subprocess.run(
        [sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    ).stdout.strip()
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "watchdog", checkout / "watchdog")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        "HOME": str(tmp_path),
        "PYTHONPATH": site,
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    for command in commands_of(block.text):
        words = command.words.replace("/opt/rollback-watchdog", str(tmp_path / "venv"))
        words = re.sub(r"^python3 ", f"{shlex.quote(sys.executable)} ", words)
        done = subprocess.run(
            ["bash", "-c", words],
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}"
        assert normalised(done.stdout) == normalised(command.shown)


@pytest.mark.parametrize("block", blocks("json webhook"))
async def test_the_webhooks_body_is_the_one_that_is_sent(block: Block) -> None:
    assert block.text == shown(await sent()), "python -m tests.docs.rewrite"


@PAGE
def test_every_message_shown_is_the_one_that_is_sent(page: Path) -> None:
    text = page.read_text()
    assert messages.with_messages(text) == text, "python -m tests.docs.rewrite"
    Rendering(messages.templates(text))


@pytest.mark.parametrize("block", blocks("python receiver"))
async def test_the_receiver_knows_what_the_channel_sent_from_what_it_did_not(block: Block) -> None:
    namespace: dict[str, Any] = {"SECRET": SECRETS["WATCHDOG_HOOK_SECRET"]}
    exec(compile(block.text, "page", "exec"), namespace)  # noqa: S102 - the page's own code is what is tested
    received = await sent(SECRETS["WATCHDOG_HOOK_SECRET"])
    is_ours: Callable[[dict[str, str], bytes], bool] = namespace["is_ours"]
    headers = {name.title(): value for name, value in received.headers.items()}

    assert is_ours(headers, received.body)
    assert not is_ours(headers, received.body + b" ")
    assert not is_ours({**headers, "X-Watchdog-Signature": "v1=" + "0" * 64}, received.body)
    old = str(int(headers["X-Watchdog-Timestamp"]) - 3600)
    signed = {
        "X-Watchdog-Timestamp": old,
        "X-Watchdog-Signature": sign(namespace["SECRET"], old, received.body),
    }
    assert not is_ours({**headers, **signed}, received.body)


@PAGE
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            headings = {_slug(heading) for heading in _HEADING.findall(target.read_text())}
            assert anchor in headings, f"{page.name}: {link}"


def test_every_page_is_linked_from_the_readme() -> None:
    links = set(_LINK.findall((ROOT / "README.md").read_text()))
    assert {str(page.relative_to(ROOT)) for page in PAGES[1:]} <= links


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
