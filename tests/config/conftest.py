"""Configurations as text: a good one, changed where a test wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.config.tiny_providers import TINY
from watchdog.config.load import InvalidConfiguration, load
from watchdog.config.loaded import Configuration

GOOD = Path(__file__).parent / "good"


@dataclass
class Draft:
    """A folder with `watchdog.yaml` and `rules.yaml`, written when loaded."""

    folder: Path
    main: str
    rules: str
    environ: dict[str, str] = field(default_factory=dict)

    def replace(self, old: str, new: str) -> Draft:
        """Change the one place in the main file or in the rules where `old` stands."""
        assert self.main.count(old) + self.rules.count(old) == 1, f"{old!r} stands in several places or none"
        self.main = self.main.replace(old, new)
        self.rules = self.rules.replace(old, new)
        return self

    def insert(self, text: str) -> Draft:
        """Put `text` at the end of the main file."""
        self.main += text
        return self

    def rule(self, text: str) -> Draft:
        """Put one more rule at the end of the rules; `text` are its keys, one on a line."""
        self.rules += "  - " + "\n    ".join(text.strip().splitlines()) + "\n"
        return self

    @property
    def path(self) -> Path:
        path = self.folder / "watchdog.yaml"
        path.write_text(self.main)
        (self.folder / "rules.yaml").write_text(self.rules)
        return path

    def load(self, environ: Mapping[str, str] | None = None) -> Configuration:
        return load(self.path, environ=self.environ if environ is None else environ, registries=TINY)

    def problems(self) -> list[str]:
        """What is wrong with it, as `NAME:LINE:COL: message`."""
        try:
            self.load()
        except InvalidConfiguration as invalid:
            return [str(it).removeprefix(f"{self.folder}/") for it in invalid.problems]
        return []

    def notes(self) -> list[str]:
        """What `check` warns of, as `NAME:LINE:COL: message`."""
        return [str(it).removeprefix(f"{self.folder}/") for it in self.load().notes]


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    return Draft(
        folder=tmp_path, main=(GOOD / "main.yaml").read_text(), rules=(GOOD / "rules.yaml").read_text()
    )
