"""The end of every command's help: examples that work, and what the exit codes mean. A test runs the examples.

This module must stay light: every start of the command imports it.
"""

from __future__ import annotations

#: Where examples find a configuration.
CONFIG = "/etc/rollback-watchdog/watchdog.yaml"


def epilog(*examples: str, done: str = "done", codes: dict[int, str] | None = None) -> str:
    """Examples, one a line, and the exit codes: what 0 means here, and what else there is beside 1 and 2."""
    meanings = {0: done, 1: "failed; the reason stands on standard error", 2: "called wrongly"} | (
        codes or {}
    )
    shown = "\n".join(f"  {example}" for example in examples)
    listed = "\n".join(f"  {code}  {meaning}" for code, meaning in sorted(meanings.items()))
    # \b keeps the lines as they are.
    return f"\b\nExamples:\n{shown}\n\n\b\nExit codes:\n{listed}"
