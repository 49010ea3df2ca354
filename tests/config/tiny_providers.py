"""Providers with settings and nothing else, so that the loader is tested without any real one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from watchdog.config.load import Registries
from watchdog.settings.model import HttpSettings, PositiveDuration, ProviderSettings, Secret, Settings


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class TinySource:
    class Settings(HttpSettings):
        token: Secret | None = None


class ScrapedPages:
    class Settings(ProviderSettings):
        urls: tuple[str, ...]

    @staticmethod
    def window_fault(settings: ProviderSettings, window: timedelta) -> str:
        return f"more than {settings.timeout}" if window > settings.timeout * 12 else ""


class Expect(Settings):
    status: int = 200
    within: PositiveDuration | None = None


class TinyProbe:
    class Settings(HttpSettings):
        expect: Expect = Expect()
        headers: dict[str, str | SecretStr] = Field(default_factory=dict)


class ExtraProbe:
    EXTRA = "grpc"
    MODULES = ("json", "no_such_package")

    class Settings(ProviderSettings):
        address: str


class TinySwitch:
    class Settings(ProviderSettings):
        socket: Path
        backend: str
        variants: dict[str, Annotated[tuple[str, ...], BeforeValidator(_several)]] = Field(min_length=2)

        @model_validator(mode="after")
        def _fit(self) -> Self:
            servers = [server for group in self.variants.values() for server in group]
            if len(servers) != len(set(servers)):
                raise ValueError(f"a server stands in two variants: {', '.join(servers)}")
            return self


class BlindSwitch:
    class Settings(ProviderSettings):
        read: tuple[str, ...]

    @staticmethod
    def knows_readiness(settings: ProviderSettings) -> bool:
        return settings.timeout.total_seconds() > 100


class TinyLog:
    class Settings(ProviderSettings):
        pass


class TinyHook:
    class Settings(HttpSettings):
        secret: Secret


class TinyChat:
    class Settings(ProviderSettings):
        token: Secret
        channel: str


class TinyMail:
    class Settings(ProviderSettings):
        host: str
        port: int = 587
        tls: str = "starttls"
        from_: str = Field(alias="from")
        to: tuple[str, ...]


class TinyDuty:
    PAGES = True
    NOTICES = True

    class Settings(ProviderSettings):
        routing_key: Secret


class TinyPhone:
    PAGES = True

    class Settings(ProviderSettings):
        account: str
        token: Secret
        from_: str = Field(alias="from")
        to: tuple[str, ...]


class TinyPager:
    """Wakes people."""

    PAGES = True

    class Settings(ProviderSettings):
        pass


class TinyDesk:
    """Wakes people, and makes something else of notices."""

    PAGES = True
    NOTICES = True

    class Settings(ProviderSettings):
        pass


_HERE = "tests.config.tiny_providers:"
TINY = Registries(
    sources={"prometheus": _HERE + "TinySource", "scrape": _HERE + "ScrapedPages"},
    probes={"http": _HERE + "TinyProbe", "extra": _HERE + "ExtraProbe"},
    traffic={
        "haproxy": _HERE + "TinySwitch",
        "command": _HERE + "BlindSwitch",
        "nginx": "watchdog.traffic.nginx:NginxSwitch",
        "lost": "no_such_package.switch:Switch",
    },
    channels={
        "log": _HERE + "TinyLog",
        "webhook": _HERE + "TinyHook",
        "slack": _HERE + "TinyChat",
        "email": _HERE + "TinyMail",
        "pagerduty": _HERE + "TinyDuty",
        "sms": _HERE + "TinyPhone",
        "pager": _HERE + "TinyPager",
        "desk": _HERE + "TinyDesk",
    },
)
