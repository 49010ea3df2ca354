"""What is suspended for a service, and the words for it: whoever suspended it says so, whatever became of the rollback.

Pure. This module must never decide what is suspended, nor for how long.
"""

from __future__ import annotations

from msgspec.structs import replace

from watchdog.core.message import Message
from watchdog.core.traffic import Suspension
from watchdog.core.world import ServiceWorld


def suspension(service: ServiceWorld) -> Suspension | None:
    """What is suspended for a service, as its switch showed last."""
    return service.traffic.suspended if service.traffic is not None else None


def with_suspension(message: Message, service: ServiceWorld, suspended: Suspension | None) -> Message:
    """A message about a rollback that also says what is suspended, and how it goes on."""
    if suspended is None:
        return message
    step = (
        f"{suspended.owner} is suspended and stays so. When its source no longer holds what was rolled back: "
        f"watchdog gitops resume {service.name} --reason TEXT"
    )
    return replace(
        message,
        facts=(*message.facts, ("suspended", suspended.owner)),
        next_step=f"{message.next_step} {step}".strip(),
    )
