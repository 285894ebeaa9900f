"""The images in pods that have IPv6 addresses only, with what deploy/k8s/components/ipv6 gives them."""

import contextlib
from collections.abc import Iterator

import pytest
from tests.deploy.manifests import Manifests, containers, overlay
from tests.support.compose_project import run

pytestmark = pytest.mark.compose

FIRST_LINE = """
for attempt in $(seq 300); do
  if exec 3<>/dev/tcp/::1/{port}; then
    printf 'GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3
    exec head -n 1 <&3
  fi
  sleep 0.2
done
"""


@pytest.fixture(scope="module")
def manifests() -> Manifests:
    return overlay("local", "ipv6")


def test_the_gateway(manifests: Manifests) -> None:
    [gateway] = containers(manifests.one("Deployment", "gateway"))
    with _container(gateway["image"], *gateway["args"]) as container:
        assert _status(container, 8081, "/ready") == "HTTP/1.1 200 OK"


def test_a_service(manifests: Manifests) -> None:
    settings = manifests.one("ConfigMap", "counter-api")["data"] | {"COUNTER_API_STORE": "memory"}
    environment = [f"--env={name}={value}" for name, value in settings.items()]
    with _container(*environment, "evenkeel/counter-api:dev") as container:
        assert _status(container, 8000, "/livez") == "HTTP/1.1 200 OK"


@contextlib.contextmanager
def _container(*arguments: str) -> Iterator[str]:
    """A container whose only addresses are those of its loopback."""
    loopback = ("--network", "none", "--sysctl", "net.ipv6.conf.all.disable_ipv6=0")
    identifier = run("docker", "run", "--detach", "--rm", *loopback, *arguments).strip()
    try:
        yield identifier
    finally:
        run("docker", "rm", "--force", identifier)


def _status(container: str, port: int, path: str) -> str:
    """The status line of the first answer over IPv6."""
    return run("docker", "exec", container, "bash", "-c", FIRST_LINE.format(port=port, path=path)).strip()
