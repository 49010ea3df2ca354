"""`python -m tests.docs.rewrite`: puts what commands print now into README.md and docs/. Nothing is typed by hand.

With names of pages (`docs/tutorial.md`) only these are played. The schemas for editors are written anew.
A page whose outputs still hold is left as it is.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from tests.docs.clusters import ClusterPlayer, has_cluster
from tests.docs.escalation import with_timeline
from tests.docs.keeper import KeptDemo
from tests.docs.messages import with_messages
from tests.docs.pages import PAGES, ROOT, tables_of, with_tables
from tests.docs.player import Demo, Player, rewritten
from tests.docs.reference import table
from tests.docs.webhook import with_body
from tests.servers.kubernetes import Kubernetes
from watchdog.config.json_schema import config_schema, rules_schema, written
from watchdog.lab.testfile_schema import tests_schema


def main() -> None:
    schemas = {"watchdog": config_schema(), "rules": rules_schema(), "rule-tests": tests_schema()}
    for name, schema in schemas.items():
        (ROOT / f"docs/schema/{name}.schema.json").write_text(written(schema))
    with ExitStack() as stack:

        @cache
        def demo() -> Demo:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            return stack.enter_context(KeptDemo(folder)).demo()

        chosen = [ROOT / name for name in sys.argv[1:]]
        for page in chosen or PAGES:
            before = page.read_text()
            text = with_tables(before, {name: table(name) for name in tables_of(before)})
            text = with_messages(with_timeline(with_body(text)))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            played = Player(folder=folder, demo=demo).play(text)
            if has_cluster(text) and Kubernetes.there():
                servers = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                with Kubernetes(servers) as server:
                    played += ClusterPlayer(folder=folder, server=server).play(text)
            if not all(one.same for one in played):
                text = rewritten(text, played)
            if text != before:
                page.write_text(text)
                sys.stdout.write(f"{page.relative_to(ROOT)} written\n")


if __name__ == "__main__":
    main()
