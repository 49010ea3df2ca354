"""Pages with `console kubernetes` blocks: every command prints on a real API server what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.clusters import ClusterPlayer, has_cluster
from tests.docs.pages import PAGES, name_of
from tests.servers.kubernetes import Kubernetes

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(400)]
SHOWING = [page for page in PAGES if has_cluster(page.read_text())]


@pytest.mark.parametrize("page", SHOWING, ids=name_of)
def test_every_command_prints_what_the_page_shows(
    page: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Kubernetes(tmp_path_factory.mktemp("kubernetes")) as server:
        for one in ClusterPlayer(folder=tmp_path, server=server).play(page.read_text()):
            where = f"{page.name}, line {one.block.line}; to write it anew: python -m tests.docs.rewrite"
            assert one.same, f"{where}\n--- shown\n{one.block.text}\n--- printed\n{one.text}"
