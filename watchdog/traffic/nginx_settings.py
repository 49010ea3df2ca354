"""What a user writes of the nginx switch, and what follows from it: how to test, and where the master's number stands.

This module must never run a command; of files it reads only nginx's main configuration, for its `pid`.
"""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from watchdog.settings.model import PositiveDuration, ProviderSettings
from watchdog.traffic.nginx_text import UpstreamError, normalised, setting_of

#: What may be part of a word without quotes in nginx's language.
_PLAIN: Final = r"[^\s;{}\"'#\\]+"
#: Where Debian's, Red Hat's and nginx's own packages have them.
_PID_FILE: Final = Path("/run/nginx.pid")
_MAIN_FILE: Final = "/etc/nginx/nginx.conf"
_PREFIX: Final = "/etc/nginx"


def _argv(argv: list[str]) -> list[str]:
    if not argv[0] or any("\0" in word for word in argv):
        raise ValueError("a command starts with the program to run and holds no zero byte")
    return argv


def _server_address(address: str) -> str:
    if not re.fullmatch(_PLAIN, address):
        raise ValueError(f"{address!r} is no address of a server; write HOST:PORT as in the upstream")
    return normalised(address)


def _file(path: Path) -> Path:
    if not path.name:
        raise ValueError("names no file")
    return path


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Argv = Annotated[list[str], Field(min_length=1), AfterValidator(_argv)]
FilePath = Annotated[Path, AfterValidator(_file)]
ServerAddress = Annotated[str, AfterValidator(_server_address)]
_OneOrMore = str | Annotated[list[str], Field(min_length=1)]
Addresses = Annotated[
    tuple[ServerAddress, ...],
    BeforeValidator(_one_or_more, json_schema_input_type=_OneOrMore),
    Field(min_length=1),
]


class NginxSettings(ProviderSettings):
    """`traffic: {kind: nginx, …}` of a service."""

    upstream_file: FilePath
    """The file with the `upstream` block. Its folder must be writable: the file is replaced, not written into."""
    upstream: Annotated[str, Field(pattern=f"^{_PLAIN}$")]
    """Name of the `upstream` that holds the servers of all variants."""
    variants: Annotated[dict[Annotated[str, Field(min_length=1)], Addresses], Field(min_length=2)]
    """Variant to the address or list of addresses of its `server` lines. An address belongs to one variant."""
    reload: Argv = Field(default_factory=lambda: ["nginx", "-s", "reload"])
    """Makes nginx load its configuration."""
    test: Argv | None = None
    """Judges the configuration that is there: exit 0 is valid."""
    pid_file: Literal["none"] | FilePath | None = None
    """Tells nginx's master process, and so what it has loaded. `none` where nginx cannot be seen from here
    (a container): then a state is what the file says."""
    timeout: PositiveDuration = timedelta(seconds=10)
    """Longest time for a read; a change takes at most twice as long. What takes longer is killed."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        owner: dict[str, str] = {}
        for variant, addresses in self.variants.items():
            for address in addresses:
                if address in owner:
                    where = "twice in" if owner[address] == variant else f"in {owner[address]!r} and in"
                    raise ValueError(f"address {address!r} is {where} variant {variant!r}; it belongs to one")
                owner[address] = variant
        return self

    def test_argv(self) -> list[str]:
        """The command that judges: as written, else `reload` with `-t`, else `nginx -t`."""
        if self.test is not None:
            return self.test
        if not self.by_nginx():
            return ["nginx", "-t"]
        at = self.reload.index("-s")
        return [*self.reload[:at], *self.reload[at + 2 :], "-t"]

    def by_nginx(self) -> bool:
        """Whether `reload` is nginx's own `-s reload`, of which is known what it does when it fails: nothing."""
        words = self.reload
        pairs = itertools.pairwise(words[1:])
        return Path(words[0]).name == "nginx" and ("-s", "reload") in pairs

    def pid_path(self) -> Path | None:
        """Where the master's number stands; `None` where nginx cannot be looked at. Blocks for microseconds."""
        if self.pid_file == "none":
            return None
        if self.pid_file is not None:
            return self.pid_file
        if self.by_nginx():
            return self._pid_of_reload()
        return _PID_FILE if _PID_FILE.exists() else None

    def _pid_of_reload(self) -> Path:
        """The pid file that `reload` itself reads, from its `-g`, its `-c` and `-p`, and nginx.conf."""
        options = dict(itertools.pairwise(self.reload[1:]))
        prefix = Path(options.get("-p", _PREFIX))
        file = prefix / options.get("-c", _MAIN_FILE)
        try:
            pid = setting_of(options.get("-g", ""), "pid") or setting_of(file.read_text("latin-1"), "pid")
        except (OSError, UpstreamError):
            pid = None  # nginx itself says what is wrong with it
        return prefix / pid if pid is not None else _PID_FILE
