"""`make k8s-load` calls the right tool for each kind of cluster. The tools are replaced by stand-ins."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.deploy.manifests import K8S

IMAGES = ("evenkeel/user-api:dev", "evenkeel/gateway:dev")


@dataclass(frozen=True)
class Cluster:
    """The output of kubectl for it."""

    context: str
    provider: str = ""
    version: str = "v1.34.0"
    minikube: str = ""


class Machine:
    """A PATH with these tools only. Each of them writes down its arguments."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = folder / "calls"
        for name in ("mktemp", "rm", "sh"):
            (found,) = [path for path in (Path("/bin") / name, Path("/usr/bin") / name) if path.exists()][:1]
            (folder / name).symlink_to(found)

    def has(self, *tools: str) -> None:
        for tool in tools:
            self._install(tool, f'echo "{tool} $*" >> "{self._calls}"')

    def talks_to(self, cluster: Cluster | None) -> None:
        if cluster is None:
            self._install("kubectl", 'echo "error: current-context is not set" >&2; exit 1')
            return
        self._install(
            "kubectl",
            f"""case "$*" in
  *current-context) echo "{cluster.context}" ;;
  *spec.providerID*) printf %s "{cluster.provider}" ;;
  *kubeletVersion*) printf %s "{cluster.version}" ;;
  *minikube*) printf %s "{cluster.minikube}" ;;
esac""",
        )

    def load(self, *, user: int = 0) -> "subprocess.CompletedProcess[str]":
        self._install("id", f"echo {user}")
        return subprocess.run(
            [K8S / "load-images", *IMAGES],
            env={"PATH": str(self._folder), "TMPDIR": os.environ.get("TMPDIR", "/tmp")},  # noqa: S108 (mktemp's default)
            check=False,
            capture_output=True,
            text=True,
        )

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    def _install(self, tool: str, script: str) -> None:
        path = self._folder / tool
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_kind(machine: Machine) -> None:
    machine.talks_to(Cluster("whatever", provider="kind://docker/blue/blue-control-plane"))
    machine.has("kind")
    ended = machine.load()
    assert (ended.returncode, machine.calls) == (0, [f"kind load docker-image --name blue {' '.join(IMAGES)}"])
    assert ended.stdout == f"the cluster of context whatever has {' '.join(IMAGES)}\n"


def test_minikube(machine: Machine) -> None:
    machine.talks_to(Cluster("whatever", minikube="green"))
    machine.has("minikube")
    assert machine.load().returncode == 0
    assert machine.calls == [f"minikube --profile green image load {image}" for image in IMAGES]


@pytest.mark.parametrize(("user", "prefix"), [(0, "k3s ctr"), (1000, "sudo k3s ctr")])
def test_k3s(machine: Machine, user: int, prefix: str) -> None:
    machine.talks_to(Cluster("default", provider="k3s://node", version="v1.34.1+k3s1"))
    machine.has("k3s", "docker", "sudo")
    assert machine.load(user=user).returncode == 0
    save, load = machine.calls
    archive = save.split()[3]
    assert save == f"docker save --output {archive} {' '.join(IMAGES)}"
    assert load == f"{prefix} images import {archive}"
    assert not Path(archive).exists()


def test_k3s_in_docker(machine: Machine) -> None:
    machine.talks_to(Cluster("k3d-red", provider="k3s://k3d-red-server-0", version="v1.34.1+k3s1"))
    machine.has("k3d", "k3s", "docker")
    assert machine.load().returncode == 0
    assert machine.calls == [f"k3d image import --cluster red {' '.join(IMAGES)}"]


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        (None, "kubectl has no current context"),
        (
            Cluster("default", provider="k3s://node", version="v1.34.1+k3s1"),
            "the cluster of context default is k3s: run this on its node",
        ),
        (
            Cluster("prod", provider="aws:///eu-central-1a/i-1", version="v1.34.1-eks-1"),
            "the cluster of context prod is none of kind, minikube, k3s: push the images where it can pull them",
        ),
    ],
)
def test_what_cannot_be_done_is_said(machine: Machine, cluster: Cluster | None, message: str) -> None:
    machine.talks_to(cluster)
    machine.has("docker")
    ended = machine.load()
    assert (ended.returncode, machine.calls, ended.stdout) == (1, [], "")
    assert ended.stderr.splitlines()[-1] == f"load-images: {message}"


def test_a_tool_that_fails_is_no_success(machine: Machine) -> None:
    machine.talks_to(Cluster("whatever", provider="kind://docker/blue/blue-control-plane"))
    ended = machine.load()
    assert ended.returncode != 0
    assert ended.stdout == ""
