"""How a stack is to run, from arguments and environment variables."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from stack import browsers
from stack.access import CHOICES, Access
from stack.errors import UsageError

DEFAULT_PORT = 8080
DEFAULT_REPLICAS = 2
MAX_REPLICAS = 64

ENVIRONMENT = {
    "user_api_replicas": "USER_API_REPLICAS",
    "counter_api_replicas": "COUNTER_API_REPLICAS",
    "port": "PORT",
    "sidecars": "STACK_SIDECARS",
    "access": "GATEWAY_ACCESS",
}

SWITCH = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Options:
    """None: as it is now; in a stack that starts, the default."""

    user_api_replicas: int | None = None
    counter_api_replicas: int | None = None
    port: int | None = None
    """Of the gateway, on 127.0.0.1."""
    postgres_url: str | None = None
    cache_url: str | None = None
    counters_url: str | None = None
    sidecars: bool | None = None
    """A replica of the cache beside each replica of user-api."""
    access: Access | None = None
    """Whether requests through the gateway need a token."""
    pages: Mapping[str, str] | None = None
    """The host names of the gateway, and the web pages that may send requests to it (stack.browsers)."""

    @classmethod
    def read(cls, arguments: Mapping[str, str | None], environment: Mapping[str, str]) -> "Options":
        """Arguments override environment variables; an empty value counts as none.

        Raises UsageError, which names the wrong value and what would be right.
        """
        values: dict[str, Any] = {}
        for name in ("user_api_replicas", "counter_api_replicas", "port"):
            source, text = _given(name, arguments, environment)
            if text:
                low, high = (1, 65535) if name == "port" else (0, MAX_REPLICAS)
                values[name] = whole_number(source, text, low, high)
        source, text = _given("sidecars", arguments, environment)
        if text:
            if text not in SWITCH:
                raise UsageError(f"{source} must be true or false, not {text!r}")
            values["sidecars"] = SWITCH[text]
        source, text = _given("access", arguments, environment)
        if text:
            if text not in CHOICES:
                raise UsageError(f"{source} must be {' or '.join(CHOICES)}, not {text!r}")
            values["access"] = text
        for name, schemes in (
            ("postgres_url", ("postgresql",)),
            ("cache_url", ("redis", "rediss")),
            ("counters_url", ("redis", "rediss")),
        ):
            text = arguments.get(name)
            if text:
                values[name] = _url(f"--{name.replace('_', '-')}", text, schemes)
        if values.get("sidecars") and values.get("cache_url", "").startswith("rediss:"):
            raise UsageError("sidecars need a --cache-url like redis://…: the embedded Valkey has no TLS")
        values["pages"] = browsers.read(environment)
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _given(name: str, arguments: Mapping[str, str | None], environment: Mapping[str, str]) -> tuple[str, str | None]:
    """Where an option was given, and its text."""
    text = arguments.get(name)
    if text is None:
        return ENVIRONMENT[name], environment.get(ENVIRONMENT[name])
    return f"--{name.replace('_', '-')}", text


def whole_number(source: str, text: str, low: int, high: int) -> int:
    """The number in the text. Raises UsageError, which names its source and the limits."""
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise UsageError(f"{source} must be a whole number from {low} to {high}, not {text!r}")
    return int(text)


def _url(source: str, text: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(text)
        complete = parts.scheme in schemes and parts.hostname and parts.port is not None
    except ValueError:
        complete = False
    if not complete:  # the text is not repeated, because it may have a password
        raise UsageError(f"{source} must be a URL like {schemes[0]}://user:password@host:port/name")
    return text
