"""Known vulnerabilities of what the lock files pin, by pip-audit. If the database cannot be reached, it prints one
line.
"""

import argparse
import json
import subprocess
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "services/user-api/requirements.lock", "services/counter-api/requirements.lock")

SERVICE = "https://api.osv.dev/v1/query"
"""The Open Source Vulnerabilities database, with PyPI's own advisories and GitHub's."""

PATIENCE = 3.0
"""Seconds for a first request, which shows whether the database can be reached."""


def unavailable(service: str) -> str | None:
    """Why the database cannot be reached; None if it answers."""
    question = json.dumps({"version": "0", "package": {"name": "pip", "ecosystem": "PyPI"}}).encode()
    request = Request(service, question, {"Content-Type": "application/json"})  # noqa: S310 (https, or a test's own)
    try:
        with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 (as above)
            json.load(answer)
    except (OSError, HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    return None


def audit(service: str) -> int:
    """pip-audit's exit status: 0 if no vulnerability is known."""
    if reason := unavailable(service):
        print(f"pip-audit: not run, {service} does not answer ({reason})")
        return 0
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner=off", "--vulnerability-service=osv"]
    # The lock files pin everything by hash, so pip-audit has nothing to resolve.
    command += [f"--osv-url={service}", "--require-hashes", "--disable-pip"]
    for lock in LOCKS:
        command += ["--requirement", str(ROOT / lock)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", default=SERVICE, help="what is asked (default: %(default)s)")
    sys.exit(audit(parser.parse_args().service))
