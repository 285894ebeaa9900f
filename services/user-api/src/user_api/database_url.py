"""USER_API_DATABASE_URL. After its `?` it takes the parameters of libpq that asyncpg supports, and no others.

Messages contain neither the URL, which has the password, nor any text that could be part of it.
"""

import re
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

LONGEST_CONNECT_TIMEOUT = 60
"""Seconds."""

_FORM = "must look like postgresql://user:password@host:port/database"

_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_FILES = ("sslrootcert", "sslcert", "sslkey")
_KNOWN = ("sslmode", "ssl", *_FILES, "connect_timeout", "application_name", "host")

# Parameters of libpq (PostgreSQL 18, 32.1.2) that messages may name. Any other text may be part of a password.
_OTHERS = re.compile(
    "channel_binding|client_encoding|fallback_application_name|gss(?:delegation|encmode|lib)|hostaddr|dbname|keepalives(?:_[a-z]+)?|"
    "krbsrvname|load_balance_hosts|(?:ssl_)?(?:max|min)_protocol_version|options|passfile|password|port|replication|"
    "require_auth|requirepeer|requiressl|scram_(?:client|server)_key|service|servicefile|ssl(?:certmode|compression|crl|crldir|keylogfile|negotiation|password|sni)|"
    "target_session_attrs|tcp_user_timeout|user"
)


# As SQLAlchemy reads URLs: user name and password may contain any character but @ and, the former, / and : (unless they
# are percent-encoded). A test compares the two.
_URL = re.compile(
    r"postgresql(?:\+\w+)?://"
    r"(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<ipv6>[^/?]+)\]|(?P<host>[^/:?]+))?"
    r"(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<database>[^?]*))?"
    r"(?:\?(?P<query>.*))?"
)


class DatabaseAddress(NamedTuple):
    """Where the database is: arguments of asyncpg's `connect`."""

    place: dict[str, Any]
    """Those of host, port, user, password and database that the URL has."""
    options: dict[str, Any]
    """What the URL's parameters say."""


def parse_database_url(text: str) -> DatabaseAddress:
    """Parse the URL. ValueError, with one sentence, if it is no URL of PostgreSQL or needs what asyncpg cannot do."""
    found = _URL.match(text)
    if found is None:
        raise ValueError(_FORM)
    place: dict[str, Any] = {name: unquote(found[name]) for name in ("user", "password", "database") if found[name]}
    if host := found["ipv6"] or found["host"]:
        place["host"] = host
    if found["port"] is not None:
        place["port"] = _port(found["port"])
    if "database" not in place:
        raise ValueError(_FORM)
    query = _known(parse_qsl(found["query"] or "", keep_blank_values=True))
    arguments = _tls(query)
    if (seconds := query.get("connect_timeout")) is not None:
        arguments["timeout"] = _seconds(seconds)
    if (name := query.get("application_name")) is not None:
        if not (name.isascii() and name.isprintable() and 0 < len(name) < 64):
            raise ValueError("application_name must be 1 to 63 printable ASCII characters")
        arguments["server_settings"] = {"application_name": name}
    if (host := query.get("host")) is not None:
        if "host" in place or not host.startswith("/"):
            raise ValueError("host after the ? is the folder of a Unix socket, and stands alone")
        arguments["host"] = host
    return DatabaseAddress(place, arguments)


def _known(query: list[tuple[str, str]]) -> dict[str, str]:
    known: dict[str, str] = {}
    for name, value in query:
        if name not in _KNOWN:
            what = name if _OTHERS.fullmatch(name) else "a parameter"
            raise ValueError(f"has {what} after its ?, which is not supported; supported are {', '.join(_KNOWN)}")
        if name in known:
            raise ValueError(f"has {name} twice")
        known[name] = value
    return known


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536:
        return int(text)
    raise ValueError(_FORM)


def _seconds(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= LONGEST_CONNECT_TIMEOUT:
        return int(text)
    raise ValueError(f"connect_timeout must be a number of seconds from 1 to {LONGEST_CONNECT_TIMEOUT}")


def _tls(query: Mapping[str, str]) -> dict[str, Any]:
    """The argument `ssl`. Without any parameter asyncpg behaves like libpq."""
    if "ssl" in query and "sslmode" in query:
        raise ValueError("has both ssl and sslmode; leave one out")
    mode = query.get("sslmode", query.get("ssl"))
    files = {name: query[name] for name in _FILES if name in query}
    if mode is None and not files:
        return {}
    if mode not in _MODES:
        raise ValueError(f"sslmode must be one of {', '.join(_MODES)}")
    if mode in {"disable", "allow", "prefer"}:
        if files:
            raise ValueError(f"has {next(iter(files))}, which needs sslmode require, verify-ca or verify-full")
        return {"ssl": False if mode == "disable" else mode}
    return {"ssl": _context(mode, files)}


def _context(mode: str, files: Mapping[str, str]) -> ssl.SSLContext:
    """As in libpq: if there are root certificates, `require` verifies the server's certificate, too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode == "verify-full"
    roots = files.get("sslrootcert")
    if roots is None:
        if mode != "require":
            raise ValueError(f"sslmode={mode} needs sslrootcert: a file of certificates, or system")
        context.verify_mode = ssl.CERT_NONE
    elif roots == "system":
        if mode != "verify-full":
            raise ValueError("sslrootcert=system needs sslmode=verify-full")
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cafile=roots)
        except (OSError, ValueError):
            raise ValueError("sslrootcert is no file of certificates that can be read") from None
    if "sslcert" in files or "sslkey" in files:
        try:
            # An empty password, or OpenSSL would ask for one at a terminal and wait.
            context.load_cert_chain(files["sslcert"], files["sslkey"], password="")
        except KeyError:
            raise ValueError("sslcert and sslkey go together") from None
        except (OSError, ValueError):
            raise ValueError("sslcert and sslkey are no certificate and its key that can be read") from None
    return context
