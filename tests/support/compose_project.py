"""A running compose project, controlled by Docker's commands."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICES = ("user-api", "counter-api")
STOPPED_WITHIN = "20"
"""Seconds, as in `stop_grace_period`, because `docker restart` does not read the compose file."""


@dataclass(frozen=True)
class Project:
    name: str

    def compose(self, *arguments: str, **environment: str) -> str:
        return run("docker", "compose", "--project-name", self.name, *arguments, **environment)

    def replicas(self, service: str) -> list[str]:
        """The ids of the containers."""
        return self.compose("ps", "--quiet", service).split()

    def scale(self, **replicas: int) -> None:
        """Start missing containers, and return when all are healthy or have ended. Existing ones are not changed."""
        now = {service: len(self.replicas(service)) for service in SERVICES}
        wanted = now | {service.replace("_", "-"): number for service, number in replicas.items()}
        scales = [word for service, number in wanted.items() for word in ("--scale", f"{service}={number}")]
        self.compose("up", "--detach", "--no-recreate", "--wait", *scales, *SERVICES)


def run(*words: str, **environment: str) -> str:
    ended = subprocess.run(
        words, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def healthy(containers: Sequence[str]) -> bool:
    states = [each["State"] for each in json.loads(run("docker", "inspect", *containers))]
    return all(state["Running"] and state["Health"]["Status"] == "healthy" for state in states)
