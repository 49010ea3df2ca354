"""Plays a script on a virtual clock: the daemon's own step, guards, routes and ladders, with its effects carried out.

What the engine does between two steps (polling, reading and writing the switch, sending) is done here without a loop,
in the same order and by the same pure functions. This module must never decide anything that the core decides.
"""

from __future__ import annotations

from watchdog.lab.recording import Recording
from watchdog.lab.script import Script


def play(script: Script) -> Recording:
    """Play it to its end. Deterministic: the same script gives the same recording. Never raises for what is in one."""
    raise NotImplementedError
