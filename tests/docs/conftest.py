"""One demo for all pages, started when the first page needs it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.keeper import KeptDemo
from tests.docs.player import Demo


@pytest.fixture(scope="session")
def kept_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Demo]]:
    """`kept_demo()`: a `watchdog demo --keep` that has come to its end, stopped after the last test."""
    with contextlib.ExitStack() as stack:

        @cache
        def start() -> Demo:
            folder: Path = tmp_path_factory.mktemp("demo")
            return stack.enter_context(KeptDemo(folder)).demo()

        yield start
