"""Pods start, are replaced, scaled and drained, and no request fails."""

import pytest
from tests.deploy.manifests import (
    SETTINGS,
    Manifests,
    container_of,
    lasting,
    main_container,
    named,
    pod,
    pod_name,
    quantity,
)

from evenkeel.service.server import GRACEFUL_SHUTDOWN

pytestmark = pytest.mark.xdist_group("kubernetes")

OURS = {*SETTINGS, "gateway"}


def test_every_lasting_container_has_probes(manifests: Manifests) -> None:
    for workload in manifests.of("Deployment", "StatefulSet"):
        for container in lasting(workload):
            expected = {"startupProbe", "livenessProbe", "readinessProbe"}
            if container["name"] == "cache-sidecar":
                # The pod is ready without its sidecar too: it then reads from the primary, or from PostgreSQL.
                expected.remove("readinessProbe")
            assert {key for key in container if key.endswith("Probe")} == expected
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in (container[key] for key in expected):
                (how,) = probe.keys() & {"httpGet", "tcpSocket", "exec"}
                assert how == "exec" or probe[how]["port"] in ports
            start = container["startupProbe"]
            assert start.get("periodSeconds", 10) * start["failureThreshold"] >= 60, "small nodes are slow"


def test_nobody_is_restarted_for_the_outage_of_somebody_else(manifests: Manifests) -> None:
    for name in SETTINGS:
        container = main_container(manifests.one("Deployment", name))
        assert container["startupProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
        assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    gateway = main_container(manifests.one("Deployment", "gateway"))
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert gateway[kind]["httpGet"] == {"path": "/ready", "port": "health"}
    for server in manifests.of("StatefulSet"):
        assert "tcpSocket" in main_container(server)["livenessProbe"], (
            "a server that recovers must not be killed for it"
        )


def test_a_sidecar_needs_no_primary_to_start_and_to_live(local: Manifests) -> None:
    """Its probes accept any answer, also while it loads. With `-e` that would be an error."""
    sidecar = container_of(local.one("Deployment", "user-api"), "cache-sidecar")
    assert sidecar["restartPolicy"] == "Always", "what makes it a sidecar instead of something to wait for"
    for kind in ("startupProbe", "livenessProbe"):
        assert sidecar[kind]["exec"]["command"] == ["redis-cli", "-s", "/run/cache-sidecar/redis.sock", "ping"]
    options = {
        one["name"]: int(one["value"]) for one in pod(local.one("Deployment", "user-api"))["dnsConfig"]["options"]
    }
    assert options["timeout"] * options["attempts"] < sidecar["livenessProbe"]["timeoutSeconds"], "Redis waits for DNS"


def test_a_new_replica_is_ready_before_an_old_one_goes(manifests: Manifests) -> None:
    assert named(manifests.of("Deployment")) == OURS
    for deployment in manifests.of("Deployment"):
        spec = deployment["spec"]
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        (spread,) = pod(deployment)["topologySpreadConstraints"]
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
        assert spread["labelSelector"] == spec["selector"]


def test_nodes_can_be_drained_one_replica_at_a_time(manifests: Manifests) -> None:
    """Not for the data servers: with one replica, a budget has no effect or blocks the draining for ever."""
    assert named(manifests.of("PodDisruptionBudget")) == OURS
    for budget in manifests.of("PodDisruptionBudget"):
        deployment = manifests.one("Deployment", budget["metadata"]["name"])
        assert budget["spec"] == {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": deployment["spec"]["selector"],
        }


def test_replicas_leave_without_dropping_requests(manifests: Manifests) -> None:
    for name, settings in SETTINGS.items():
        spec = pod(manifests.one("Deployment", name))
        pause = main_container(manifests.one("Deployment", name))["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pause >= 10, "until every node's proxy sends no new connections"
        drain = settings.model_fields["drain"].default
        assert spec["terminationGracePeriodSeconds"] >= pause + drain + GRACEFUL_SHUTDOWN + 10


def test_the_gateway_leaves_without_dropping_requests(manifests: Manifests) -> None:
    deployment = manifests.one("Deployment", "gateway")
    command = main_container(deployment)["lifecycle"]["preStop"]["exec"]["command"]
    script = command[-1]
    assert "/dev/tcp/127.0.0.1/9901" in script
    assert "POST /healthcheck/fail" in script
    pause = int(script.split()[-1])
    assert pause > 15, "the gateway's own limit for answers"
    assert pod(deployment)["terminationGracePeriodSeconds"] >= pause + 10


def test_data_servers_have_time_to_end(local: Manifests) -> None:
    assert {pod_name(one): pod(one)["terminationGracePeriodSeconds"] for one in local.of("StatefulSet")} == {
        "postgres": 60,
        "redis-cache": 30,
        "redis-counters": 30,
    }


def test_the_gateway_sees_every_replica(manifests: Manifests) -> None:
    for name in SETTINGS:
        service = manifests.one("Service", name)["spec"]
        assert service["clusterIP"] == "None"
        assert service["publishNotReadyAddresses"], "a DNS cache would name a new replica long after it is ready"
        ready = manifests.one("Service", f"{name}-ready")["spec"]
        assert ready["type"] == "ClusterIP", "one address, which no DNS cache makes wrong"
        assert not ready.get("publishNotReadyAddresses", False)
        assert ready["selector"] == service["selector"] == {"app.kubernetes.io/name": name}
        assert [port["port"] for port in service["ports"] + ready["ports"]] == [8000, 8000]


def test_replicas_are_the_autoscalers_business(manifests: Manifests) -> None:
    """If the Deployment named a number as well, every `apply` would reset it."""
    assert not any("replicas" in deployment["spec"] for deployment in manifests.of("Deployment"))
    scaled = [one["spec"]["scaleTargetRef"] for one in manifests.of("HorizontalPodAutoscaler", "ScaledObject")]
    assert sorted(target["name"] for target in scaled) == sorted(OURS), "each exactly once"
    assert {(target["apiVersion"], target["kind"]) for target in scaled} == {("apps/v1", "Deployment")}


def test_autoscalers_are_quick_to_help_and_slow_to_let_go(alone: Manifests) -> None:
    for autoscaler in alone.of("HorizontalPodAutoscaler"):
        name, spec = autoscaler["metadata"]["name"], autoscaler["spec"]
        assert spec["scaleTargetRef"]["name"] == name
        assert 2 <= spec["minReplicas"] < spec["maxReplicas"]
        (metric,) = spec["metrics"]
        # It measures the one container, not its sidecar. It is an absolute amount, because requests differ between
        # overlays.
        resource = metric["containerResource"]
        assert (resource["name"], resource["container"]) == ("cpu", name)
        workers = 2 if name == "gateway" else 1
        load = quantity(resource["target"]["averageValue"]) / workers
        assert 0.5 <= load <= 0.7, "of what a replica can use"
        behavior = spec["behavior"]
        assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
        assert behavior["scaleUp"]["policies"] == [{"type": "Percent", "value": 100, "periodSeconds": 15}]
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 300
        assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


def test_production_is_larger(local: Manifests, production: Manifests) -> None:
    for autoscaler in production.of("HorizontalPodAutoscaler"):
        small = local.one("HorizontalPodAutoscaler", autoscaler["metadata"]["name"])["spec"]
        assert autoscaler["spec"]["minReplicas"] >= 3
        assert autoscaler["spec"]["maxReplicas"] > small["maxReplicas"]
