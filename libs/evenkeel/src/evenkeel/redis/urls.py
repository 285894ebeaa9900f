"""The grammar of Redis URLs.

One server:  redis://[[user]:password@]host:port[/database], rediss://… or unix://…, as redis-py has them.
Sentinel:    redis+sentinel://[[user]:password@]host:port[,host:port…]/service[/database]
Cluster:     redis+cluster://[[user]:password@]host:port[,host:port…]

rediss+… speaks TLS. Options of redis-py follow a `?`. The credentials are those of the Redis servers.
"""

from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

LOOKS_LIKE = (
    "redis://[user:password@]host:port/0, rediss://…, unix://…, redis+sentinel://…@host:port,…/service"
    " or redis+cluster://…@host:port,…"
)


class UnusableURL(ValueError):
    """The message says why. It has no part of the URL, because the URL holds a password."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user and password of the Sentinels, which have their own or none."""

    username: str | None = None
    password: str | None = None


def sentinel_credentials(url: str, username: str | None, password: str | None) -> Credentials:
    """The credentials from the settings; raise ValueError if they cannot be used."""
    if (username or password) and kind_of(url) != "sentinel":
        raise ValueError("are given, but the URL is not redis+sentinel://…")
    if username and not password:
        raise ValueError("go together: a user needs a password")
    return Credentials(username or None, password or None)


def kind_of(url: str) -> str:
    """The kind of the URL: "" (one server), "sentinel" or "cluster"; raise UnusableURL for anything else."""
    transport, plus, kind = _parts(url).scheme.partition("+")
    if transport not in ({"redis", "rediss"} if plus else {"redis", "rediss", "unix"}):
        raise UnusableURL(f"must look like {LOOKS_LIKE}")
    if plus and kind not in {"sentinel", "cluster"}:
        raise UnusableURL(f"must look like {LOOKS_LIKE}")
    return kind


def path_of(url: str) -> str:
    return _parts(url).path


def addresses_in(url: str) -> list[str]:
    """The `host:port`s of a URL that may have several; raise UnusableURL unless each has both."""
    addresses = _parts(url).netloc.rpartition("@")[2].split(",")
    for address in addresses:
        try:
            one = urlsplit(f"redis://{address}")
            usable = one.hostname and one.port and not one.path and not one.query
        except ValueError:
            usable = False
        if not usable:
            raise UnusableURL("a host or its port is missing")
    return addresses


def url_at(url: str, address: str, *, path: str = "") -> str:
    """The URL of one server from a redis+…:// URL, with the same credentials and options."""
    parts = _parts(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit((_transport(url), f"{credentials}{at}{address}", path, parts.query, ""))


def sentinel_url(url: str, address: str, credentials: Credentials) -> str:
    """The URL of one Sentinel from a redis+sentinel:// URL, with the same options and these credentials."""
    userinfo = ""
    if credentials.password:
        userinfo = f"{quote(credentials.username or '', safe='')}:{quote(credentials.password, safe='')}@"
    return urlunsplit((_transport(url), userinfo + address, "", _parts(url).query, ""))


def host_and_port(address: str) -> tuple[str, int]:
    """Split a `host:port` from addresses_in or joined."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _transport(url: str) -> str:
    return _parts(url).scheme.partition("+")[0]


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise UnusableURL(f"must look like {LOOKS_LIKE}") from None
