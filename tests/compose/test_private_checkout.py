"""A checkout that was made under `umask 077`: only its owner can read the files that compose mounts."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.compose_project import ROOT

pytestmark = pytest.mark.compose

IMAGE = "evenkeel/gateway:dev"


def _gateway_starts(checkout: Path) -> bool:
    """Whether Envoy can read its configuration, mounted as docker-compose.yml does it."""
    mounts = [
        f"--volume={checkout / 'gateway'}:/etc/envoy:ro",
        f"--volume={checkout / 'gateway' / 'access' / 'open'}:/etc/envoy/access:ro",
    ]
    command = ["docker", "run", "--rm", "--network", "none", *mounts, "--entrypoint", "sh", IMAGE, "-c"]
    everything = "find /etc/envoy -type f -exec cat {} + >/dev/null && envoy --mode validate -c /etc/envoy/envoy.yaml"
    return subprocess.run([*command, everything], check=False, timeout=120).returncode == 0


def test_the_documented_command_opens_it(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    (command,) = re.findall(r"umask 077.*?`(chmod [^`]+)`", page)
    for folder in ("gateway", "deploy"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for path in tmp_path.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    assert not _gateway_starts(tmp_path)
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    assert _gateway_starts(tmp_path)
