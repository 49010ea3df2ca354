"""Makes one change of nginx in a process of its own, so that it can be killed. Run with the settings as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.traffic.nginx_rig import to_green
from watchdog.traffic.nginx import NginxSwitch
from watchdog.traffic.nginx_settings import NginxSettings


async def main() -> None:
    switch = NginxSwitch(NginxSettings.model_validate(json.loads(sys.argv[1])), name="trips")
    await switch.apply(to_green(await switch.read()))


if __name__ == "__main__":
    asyncio.run(main())
