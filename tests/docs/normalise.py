"""What differs between two runs of the same command, replaced by a word. Everything else must be equal."""

from __future__ import annotations

import re

_DURATION = r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+"
_RULES: tuple[tuple[str, str], ...] = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00| UTC)?", "TIME"),
    (r"\b[0-9a-f]{64}\b", "HEAD"),
    (r"\b[0-9a-f]{16}\b", "HASH"),
    (r"(?<=127\.0\.0\.1:)\d+", "PORT"),
    (r"(?<=watchdog-demo-)\w+", "FOLDER"),
    (r"(?<=WATCHDOG_TOKEN=)\S+", "TOKEN"),
    (_DURATION + r"(?= ago)", "DURATION"),
    (r"(?<=after )" + _DURATION, "DURATION"),
    (r"[-+]\d+\.\d{3} s", "SECONDS"),
    (r"(?<=, )\d+\.\d\d s$", "SECONDS"),
    (r"(?<=_seconds\": )[\d.]+", "SECONDS"),
    # What was measured; the thresholds and windows beside it stay.
    (r"\d+(?:\.\d+)?% of \d+ events", "SHARE of COUNT events"),
    (r"(?<=too, but )[^\n]+", "LACKING"),
    (r"\{\"bad\":\{.*\}\}", "ANSWER"),
    (r"(?<=  )0\.\d+(?=  )", "VALUE"),
    (r"\b\d+(?= records)", "COUNT"),
    (r"(?<=record )\d+", "COUNT"),
    (r"\b\d+ requests to blue, \d+ to green", "REQUESTS"),
    # The demo polls: it may miss a state that passes quickly.
    (r"^  rollback: (?!completed$).*\n", ""),
    (r"((?:the deployment|version live|the switch) *│)[ \d]+│[ \d]+│", r"\1COUNT│COUNT│"),
    (r"(?<=exit code 1 after )[\d.]+ m?s", "DURATION"),
    (r"(?<=\"revision\": \")[^\"]+", "REVISION"),
    (r"(?<=\"holder\": \")[^\"]+", "HOST"),
    # Whether a look at the switch came first.
    (r"^shop \w+: pending → (?:watching|adopted)\n", ""),
    (r"(?<= is )(?:pending|watching|adopted)$", "BEGINNING"),
    (r"^clock  .*\n", ""),
    (r"^\d+ ok, \d+ warn(?=, 0 bad)", "COUNT ok, COUNT warn"),
    (r"[\d.]+ [KMGT]iB(?= are free)", "SIZE"),
    (r"\S*/(?=watchdog-tutorial\b)", "FOLDER/"),
    # The width of a table follows what stands in it.
    (r"  +", "  "),
    (r"[━─]+", "─"),
)
_COMPILED = tuple((re.compile(pattern, re.MULTILINE), word) for pattern, word in _RULES)
#: Names that a run gives, by how they begin; `0000000000` stands for the first one that no page shows yet.
_GIVEN = {
    kind: re.compile(rf"\b{kind}-[0-9a-z_]{{8,10}}\b")
    for kind in ("inc", "rb", "dep", "sil", "watchdog-demo")
}
_UNKNOWN = "0000000000"


def normalised(text: str) -> str:
    """The text with everything that changes from run to run replaced. Names are left to `Names`."""
    for pattern, word in _COMPILED:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


class Names:
    """Ids as a page shows them, and what they are in this run: one to one, wherever they appear."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}

    def learn(self, shown: str, printed: str) -> None:
        """Pair the names in what is shown with those in what was printed, in order."""
        for kind, pattern in _GIVEN.items():
            here = pattern.findall(printed)
            for old, new in zip(pattern.findall(shown), here, strict=False):
                self._now.setdefault(old, new)
            if here:
                self._now.setdefault(f"{kind}-{_UNKNOWN}", here[0])

    def translated(self, text: str) -> str:
        """A text of the page with the names of this run."""
        for pattern in _GIVEN.values():
            text = pattern.sub(lambda found: self._now.get(found[0], found[0]), text)
        return text
