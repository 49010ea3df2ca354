"""`watchdog rules …`: what can be done with rules before anybody is woken by them."""

from __future__ import annotations

import typer

rules = typer.Typer(no_args_is_help=True, help="Test rules, and find their thresholds.")


@rules.callback()
def _group() -> None:
    """Test rules, and find their thresholds; no daemon is asked, and nothing is switched."""
