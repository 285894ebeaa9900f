"""A bill of materials of each service in CycloneDX, from what its lock file installs. The same lock gives the same
file.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "sbom"
SERVICES = ("user-api", "counter-api")
UV = str(Path(sys.executable).with_name("uv"))

UNREAD = {"protobuf": "BSD-3-Clause"}
"""Licences that the metadata spells in a way that the tool of CycloneDX does not read."""


def write(service: str, output: Path) -> None:
    """Install the service's lock into a new environment, and list its packages with their licences."""
    folder = ROOT / "services" / service
    with tempfile.TemporaryDirectory(prefix="evenkeel-sbom-") as environment:
        python = ["--python", environment]
        _run(UV, "--quiet", "venv", "--allow-existing", "--python", sys.executable, environment)
        _run(UV, "--quiet", "pip", "sync", *python, "--require-hashes", str(folder / "requirements.lock"))
        output.parent.mkdir(parents=True, exist_ok=True)
        _run(
            *(sys.executable, "-m", "cyclonedx_py", "environment", environment),
            *("--pyproject", str(folder / "pyproject.toml")),
            *("--output-reproducible", "--output-format", "JSON", "--output-file", str(output)),
        )
        _complete(output)


def _complete(output: Path) -> None:
    document = json.loads(output.read_text())
    for component in document["components"]:
        if not component.get("licenses"):
            component["licenses"] = [{"license": {"id": UNREAD[component["name"]]}}]
    output.write_text(json.dumps(document, indent=2) + "\n")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    for name in SERVICES:
        write(name, file := OUTPUT / f"{name}.cdx.json")
        print(file.relative_to(ROOT))
