"""What a traffic switch was when its traffic was read: enough to tell whether the one of now moves another object.

It is stored beside that traffic, so it holds hashes only: an address may carry a credential. This module must never
read a switch, nor say what a change of it means (`watchdog.core.relocating`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec


class SwitchPlace(msgspec.Struct, frozen=True, kw_only=True):
    """`identity` is the SHA-256 (hex) of the switch's own, `variants` those of the servers that each variant names."""

    identity: str
    variants: dict[str, tuple[str, ...]] = {}


def switch_place(identity: str, variants: Mapping[str, str | Sequence[str]] | None) -> SwitchPlace:
    """The place of a switch; `variants` is `None` for one that is not told their servers."""
    return SwitchPlace(
        identity=_hashed(identity),
        variants={
            name: tuple(_hashed(one) for one in ((written,) if isinstance(written, str) else written))
            for name, written in (variants or {}).items()
        },
    )


def another_object(before: SwitchPlace, after: SwitchPlace) -> bool:
    """Whether another object is moved, or its variants are called differently."""
    return before != after


def exchanged(before: SwitchPlace, after: SwitchPlace) -> frozenset[str]:
    """The variants that keep their name and not one server: what is known of them is of others."""
    return frozenset(
        name
        for name, servers in before.variants.items()
        if name in after.variants and not set(servers) & set(after.variants[name])
    )


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
