"""Plays `console kubernetes` blocks: against a real API server, with a kubelet's word and a real daemon.

Pods of an image `:v2` crash: those of a Deployment at once, those behind a Service once it selects them.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.docs.normalise import Names, normalised
from tests.docs.pages import Block, blocks_of, commands_of
from tests.docs.player import Played
from tests.servers.kubelet import poll
from tests.servers.kubernetes import Kubernetes
from tests.servers.ports import free_port
from tests.servers.process import Process, answers
from watchdog.cluster.client import Cluster
from watchdog.cluster.settings import ClusterSettings

#: The namespace of these pages.
NAMESPACE = "prod"
_TOKEN = "t" * 32
_WITHIN = 90.0
#: What differs from run to run beyond `normalise`: hashes of pods, and how a rollout went along.
_ALSO: tuple[tuple[str, str], ...] = (
    (r"\b[0-9a-f]{8,10}\b(?:-[0-9a-z]{5}\b)?", "PODHASH"),
    (r"\b\d+ of \d+ pods", "COUNT pods"),
    (r"^Waiting for .*\n", ""),
    (r"^error: unable to .*\n", ""),
)


def has_cluster(page: str) -> bool:
    """Whether a page has such blocks."""
    return any(block.kind == "console kubernetes" for block in blocks_of(page))


@dataclass(kw_only=True)
class ClusterPlayer:
    """Plays one page."""

    folder: Path
    server: Kubernetes
    port: int = field(default_factory=free_port)
    names: Names = field(default_factory=Names)
    _stack: ExitStack = field(default_factory=ExitStack)

    def play(self, page: str) -> list[Played]:
        """Every `console kubernetes` block of the page, with what its commands print now."""
        self.server.kubectl("create", "namespace", NAMESPACE)
        with self._stack:
            self._stack.callback(_beside(self._kubelet))
            played = []
            for block in blocks_of(page):
                if block.file:
                    (self.folder / block.file).write_text(self._now(block.text))
                if block.kind == "console kubernetes":
                    played.append(self._console(block))
            return played

    def _console(self, block: Block) -> Played:
        text, same = "", True
        for command in commands_of(block.text):
            printed = self._run(self._now(self.names.translated(command.words)))
            self.names.learn(command.shown, printed)
            same = same and _plain(self.names.translated(command.shown)) == _plain(printed)
            text += f"$ {command.words}\n{printed}"
        return Played(block=block, text=text, same=same)

    def _now(self, text: str) -> str:
        return text.replace("9911", str(self.port))

    def _run(self, words: str) -> str:
        if words.endswith(" &"):
            self._start_daemon()
            return ""
        done = subprocess.run(
            ["bash", "-c", words],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_WITHIN,
            check=False,
        )
        printed = re.sub(r"^Waiting for .*\n", "", done.stdout.decode(), flags=re.MULTILINE)
        assert done.returncode == 0, f"`{words}` ended with {done.returncode}: {printed}"
        return printed

    def _environment(self) -> dict[str, str]:
        places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        return {
            "PATH": os.pathsep.join(places),
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.server.kubeconfig),
            "LANG": "C.UTF-8",
            "COLUMNS": "120",
            "WATCHDOG_URL": f"http://127.0.0.1:{self.port}",
            "WATCHDOG_TOKEN": _TOKEN,
        }

    def _start_daemon(self) -> None:
        process = Process(
            [sys.executable, "-m", "watchdog", "run", "-c", str(self.folder / "watchdog.yaml")],
            log=self.folder / "watchdog.log",
            ready=answers(self.port, "/readyz"),
            within=60.0,
            env=self._environment(),
        )
        self._stack.enter_context(process)
        deadline = time.monotonic() + _WITHIN
        while not self._all_stable():
            if time.monotonic() > deadline:
                raise RuntimeError(f"no known good version:\n{process.output()[-2000:]}")
            threading.Event().wait(0.2)

    def _all_stable(self) -> bool:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/deployments", headers={"Authorization": f"Bearer {_TOKEN}"}
        )
        with urllib.request.urlopen(asked, timeout=5.0) as answer:  # noqa: S310
            items = json.loads(answer.read())["items"]
        return len(items) == 2 and all(one["state"] == "stable" for one in items)

    async def _kubelet(self) -> None:
        cluster = Cluster(ClusterSettings(kubeconfig=self.server.kubeconfig))
        try:
            await poll(cluster, NAMESPACE, self._fate)
        finally:
            await cluster.aclose()

    def _fate(self, pod: dict[str, Any]) -> str:
        labels, image = pod["metadata"]["labels"], pod["spec"]["containers"][0]["image"]
        if not image.endswith(":v2"):
            return "ready"
        if "colour" not in labels:
            return "CrashLoopBackOff"
        service = self.server.get("service", labels["app"], "-n", NAMESPACE)
        return "CrashLoopBackOff" if service["spec"]["selector"]["colour"] == labels["colour"] else "ready"


def _plain(text: str) -> str:
    text = normalised(text)
    for pattern, word in _ALSO:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text


def _beside(work: Callable[[], Any]) -> Callable[[], None]:
    """Run a coroutine on a thread of its own; answers what ends it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    future = asyncio.run_coroutine_threadsafe(work(), loop)

    def end() -> None:
        future.cancel()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.2), loop).result(5.0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5.0)
        loop.close()

    return end
