"""The host names of the gateway, and the web pages that may send requests: gateway/*.lua read them as Envoy starts."""

import re
from collections.abc import Mapping

from stack.errors import UsageError

_HOST = r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]"

VARIABLES = {
    "GATEWAY_HOSTS": (_HOST, "host names without ports, such as api.example.com"),
    "GATEWAY_CORS_ORIGINS": (rf"https?://(?:{_HOST})(?::\d+)?", "origins such as https://app.example.com"),
    "GATEWAY_PUBLIC_PREFIX": (r"[A-Za-z0-9][A-Za-z0-9._:-]*", "beginnings of counters' names, such as public:"),
}

NONE: Mapping[str, str] = dict.fromkeys(VARIABLES, "")
"""Loopback names only, and only the gateway's own page."""


def read(environment: Mapping[str, str]) -> dict[str, str] | None:
    """All three variables, or None if none of them is given. An empty one counts as not given.

    Raises UsageError, which names the wrong value and what would be right.
    """
    values = {name: ",".join(_listed(name, environment.get(name, ""))) for name in VARIABLES}
    return values if any(values.values()) else None


def _listed(name: str, text: str) -> list[str]:
    pattern, example = VARIABLES[name]
    values = [value for part in text.split(",") if (value := part.strip())]
    for value in values:
        if not re.fullmatch(pattern, value, re.IGNORECASE):
            raise UsageError(f"{name} must be {example}, separated by commas; {value!r} is not")
    return values
