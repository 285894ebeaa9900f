"""Everything fits: on a small node, into PostgreSQL's connections, and into the memory limits."""

from decimal import Decimal

import pytest
from tests.deploy.manifests import UNITS, Manifests, Object, arguments, container_of, containers, lasting, quantity

from user_api.database import connections
from user_api.settings import Settings

pytestmark = pytest.mark.xdist_group("kubernetes")

MIGRATION = 2
"""Connections of a migration: one holds the lock, the other one migrates."""

RESERVE = 10
"""Connections for administrators, including the three that PostgreSQL reserves for superusers."""


def _most_pods(manifests: Manifests, workload: Object) -> int:
    """The highest number of replicas at a time, without those that are ending."""
    if workload["kind"] != "Deployment":
        return int(workload["spec"].get("replicas", 1))
    autoscaler = manifests.one("HorizontalPodAutoscaler", workload["metadata"]["name"])
    return int(autoscaler["spec"]["maxReplicas"] + workload["spec"]["strategy"]["rollingUpdate"]["maxSurge"])


def _requested(workload: Object, resource: str) -> Decimal:
    """What one pod requests: what its lasting containers need, or, if it is more, what runs before they start."""

    def request(one: Object) -> Decimal:
        return quantity(one["resources"]["requests"][resource])

    return max(sum(map(request, lasting(workload)), Decimal(0)), *map(request, containers(workload)))


def test_every_container_has_requests_and_a_memory_limit(manifests: Manifests) -> None:
    for one in manifests.containers:
        resources = one["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert resources["limits"].keys() == {"memory"}, "throttling shows as latency long before the node is busy"
        assert quantity(resources["requests"]["memory"]) <= quantity(resources["limits"]["memory"])


def test_local_fits_a_small_node(local: Manifests) -> None:
    """2 CPUs and 4 GiB are enough at the autoscalers' maximum, during a rollout with a migration.

    The system itself requests more: 0.95 CPUs and 0.3 GiB with kubeadm's control plane in kind. A larger network
    plug-in adds a fifth of a CPU.
    """
    asked = {"cpu": Decimal(0), "memory": Decimal(0)}
    for workload in local.workloads:
        for resource in asked:
            asked[resource] += _most_pods(local, workload) * _requested(workload, resource)
    assert asked["cpu"] <= Decimal("0.8")
    assert asked["memory"] <= 3 * UNITS["Gi"]


def _max_connections(manifests: Manifests) -> int:
    """The connections that the overlay's PostgreSQL allows, or that the overlay requires."""
    for server in manifests.of("StatefulSet"):
        for one in containers(server):
            for argument in one.get("args", []):
                if argument.startswith("max_connections="):
                    return int(argument.partition("=")[2])
    autoscaler = manifests.one("HorizontalPodAutoscaler", "user-api")
    return int(autoscaler["metadata"]["annotations"]["database-max-connections"])


def test_postgresql_has_enough_connections(alone: Manifests, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that is ending keeps its connections to the end, and a rollout does not wait for that. So there may be
    twice as many.
    """
    for source in (alone.data("ConfigMap", "user-api"), {"USER_API_DATABASE_URL": "postgresql://u:p@postgres/u"}):
        for variable, value in source.items():
            monkeypatch.setenv(variable, value)
    monkeypatch.setenv("USER_API_CACHE_URL", "redis://redis-cache")
    monkeypatch.setenv("USER_API_CACHE_KEYS", "bG9jYWwgY2x1c3RlciBvbmx5LCBub3QgYSBzZWNyZXQ=")
    deployment = alone.one("Deployment", "user-api")
    ending = alone.one("HorizontalPodAutoscaler", "user-api")["spec"]["maxReplicas"]
    replicas = _most_pods(alone, deployment) + ending
    needed = replicas * connections(Settings()) + MIGRATION + RESERVE
    assert needed < _max_connections(alone)


def test_a_cache_and_its_sidecars_have_room_for_copying_everything(local: Manifests) -> None:
    """Either server took 2.5 times the primary's maxmemory while a full cache was copied to a sidecar and rewritten.

    The primary's fork shares no page that is written meanwhile. The sidecar keeps the old data until it has the new.
    """
    (primary,) = containers(local.one("StatefulSet", "redis-cache"))
    sidecar = container_of(local.one("Deployment", "user-api"), "cache-sidecar")
    maxmemory = arguments(primary["args"])["maxmemory"]
    assert maxmemory.endswith("mb")
    needed = Decimal("2.5") * int(maxmemory.removesuffix("mb")) * UNITS["Mi"]
    for one in (primary, sidecar):
        assert quantity(one["resources"]["limits"]["memory"]) >= needed


def test_counters_have_room_for_rewriting_the_log(local: Manifests) -> None:
    (counters,) = containers(local.one("StatefulSet", "redis-counters"))
    maxmemory = int(arguments(counters["args"])["maxmemory"].removesuffix("mb")) * UNITS["Mi"]
    assert quantity(counters["resources"]["limits"]["memory"]) >= 2 * maxmemory
