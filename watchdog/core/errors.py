"""The one tree of errors. Every provider translates its driver's exceptions into a leaf of it.

    WatchdogError
    ├── ConfigError            a user's mistake in a file; carries positions (watchdog.config)
    ├── TransitionError        a (state, event) pair the table does not list: a fault of ours
    ├── StoreError             the store cannot be read or written: nothing may be done
    │   ├── StoreLocked        another daemon holds the store
    │   └── StoreCorrupt       the file is not a healthy database
    ├── StoreAhead             the store knows more than this process, or has another writer: it must start afresh
    └── SwitchError            a traffic switch did not do what was asked
        ├── SwitchUnreachable  reading failed; nothing was changed by us
        ├── SwitchConflict     the precondition did not hold; nothing was changed by us
        ├── SwitchRejected     the target refused; nothing was changed by us
        └── SwitchUnknown      the change may or may not have happened; read before anything else

Sources, probes and channels answer with values (`Failed`, `Delivery`) instead of raising.
This module must never import anything of ours.
"""

from __future__ import annotations


class WatchdogError(Exception):
    """Root of every error this project raises on purpose."""


class ConfigError(WatchdogError):
    """A configuration that cannot be used; `str()` is the complete text for the user."""


class TransitionError(WatchdogError):
    """A state machine was given an event its table does not list."""


class StoreError(WatchdogError):
    """The store cannot be read or written. `advice` says what a person should do."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class StoreLocked(StoreError):
    """Another process owns this store."""


class StoreCorrupt(StoreError):
    """The store's file is damaged or is no database."""


class StoreAhead(WatchdogError):
    """A turn is stored that this process takes for lost, or another process became the store's writer.

    No `StoreError`: only a start afresh goes on from there.
    """


class SwitchError(WatchdogError):
    """Base of everything a traffic switch raises; the text says what was asked and what came back."""


class SwitchUnreachable(SwitchError):
    """The target could not be read (gone, refused, timed out, garbage). Nothing was changed by us."""


class SwitchConflict(SwitchError):
    """The state or revision was not the expected one at the moment of writing. Nothing was changed by us."""


class SwitchRejected(SwitchError):
    """The target refused the change (unknown server, no right). Nothing was changed by us."""


class SwitchUnknown(SwitchError):
    """The write may or may not have taken effect. Read the target before doing anything else."""
