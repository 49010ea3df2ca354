"""What is read of annotations that anybody may write."""

from __future__ import annotations

import pytest

from watchdog.cluster.marks import EPOCH, PAUSED, epoch_of, paused_of


@pytest.mark.parametrize(
    ("text", "epoch"),
    [("7", 7), ("", 0), ("-7", 0), ("seven", 0), ("7.5", 0), ("\u0667", 0), ("9" * 5000, 0)],
)
def test_an_epoch_that_nobody_of_ours_wrote_is_none(text: str, epoch: int) -> None:
    assert epoch_of({EPOCH: text}) == epoch
    assert epoch_of({}) == 0


@pytest.mark.parametrize(
    ("text", "paused"),
    [("database", "database"), ("", "no reason given"), ("true", "true"), ("false", ""), (" False ", "")],
)
def test_anything_but_false_is_a_pause(text: str, paused: str) -> None:
    assert paused_of({PAUSED: text}) == paused
    assert paused_of({}) == ""
