"""The demo's report: a table for people, one line of JSON for scripts."""

from __future__ import annotations

import json
from dataclasses import dataclass

from watchdog.demo.play import Story
from watchdog.demo.visitors import Visitors


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of one run; `before` and so on are (requests, failed)."""

    story: Story
    switch: str
    source: str
    before: tuple[int, int]
    during: tuple[int, int]
    after: tuple[int, int]

    @property
    def rolled_back(self) -> bool:
        """Whether it went as promised."""
        return self.story.state == "completed"

    @property
    def breach_to_switch(self) -> float | None:
        """Seconds from the first failed request to the acknowledged switch."""
        story = self.story
        return None if story.broke is None or story.switched is None else story.switched - story.broke

    def as_json(self) -> str:
        """The last line of `--json`."""
        total = [self.before, self.during, self.after]
        seconds = self.breach_to_switch
        return json.dumps(
            {
                "outcome": "rolled_back" if self.rolled_back else self.story.state,
                "breach_to_switch_seconds": None if seconds is None else round(seconds, 3),
                "requests_total": sum(count for count, _ in total),
                "requests_failed": sum(failed for _, failed in total),
                "failed_after_switch": self.after[1],
                "switch": self.switch,
                "source": self.source,
                "rollback": self.story.rollback,
                "incident": self.story.incident,
            }
        )

    def rows(self) -> list[tuple[str, str]]:
        """The timeline, relative to the first failed request."""
        story, start = self.story, self.story.broke or self.story.deployed
        moments = [
            ("deployed", story.deployed),
            ("broke (first failed request)", story.broke),
            ("seen (first bad sample)", story.seen),
            ("decided", story.decided),
            ("switched", story.switched),
            ("recovered (proved)", story.recovered),
        ]
        return [(name, "never" if at is None else f"{at - start:+8.3f} s") for name, at in moments]

    def requests(self) -> list[tuple[str, str, str]]:
        """Requests and failures before, during and after."""
        spans = [
            ("before the deployment", self.before),
            ("bad version live", self.during),
            ("after the switch", self.after),
        ]
        return [(name, str(count), str(failed)) for name, (count, failed) in spans]


def report_of(story: Story, visitors: Visitors, *, switch: str, source: str) -> Report:
    """Sort the visits into before, during and after."""
    switched = story.switched if story.switched is not None else float("inf")
    return Report(
        story=story,
        switch=switch,
        source=source,
        before=visitors.failures(start=0.0, end=story.deployed),
        during=visitors.failures(start=story.deployed, end=switched),
        after=visitors.failures(start=switched, end=float("inf")),
    )
