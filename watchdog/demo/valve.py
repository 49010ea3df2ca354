"""The script behind the demo's `command` switch: asks the small proxy. `python -m watchdog.demo.valve PORT read|apply`.

Exit codes are those the `command` switch documents: 3, the state is another one, nothing was changed; 4, refused.
Only the standard library, so that it starts fast.
"""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlencode

_CODES = {200: 0, 409: 3, 404: 4}


def main(argv: list[str]) -> int:
    """`PORT read`, or `PORT apply VARIANT EXPECT`."""
    connection = http.client.HTTPConnection("127.0.0.1", int(argv[0]), timeout=5)
    if argv[1] == "read":
        connection.request("GET", "/traffic")
    else:
        connection.request("POST", "/traffic?" + urlencode({"live": argv[2], "expect": argv[3]}))
    answer = connection.getresponse()
    sys.stdout.write(answer.read().decode())
    return _CODES.get(answer.status, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
