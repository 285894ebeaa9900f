"""The Job of `make k8s-test`: its pod runs beside the installation, and may reach the gateway alone."""

import pytest
from tests.deploy.manifests import K8S, Manifests, main_container, overlay, pod, render, selects
from tests.deploy.test_kubernetes import validate
from tests.deploy.test_kubernetes_network import edges

pytestmark = pytest.mark.xdist_group("kubernetes")


@pytest.fixture
def load() -> Manifests:
    return render(K8S / "disruptions")


def test_it_is_valid_in_every_supported_kubernetes(load: Manifests) -> None:
    assert [manifest["kind"] for manifest in load] == ["ServiceAccount", "Job", "NetworkPolicy"]
    for manifest in load:
        validate(manifest, "1.30")
        validate(manifest, "1.37")
        assert (manifest["metadata"]["name"], manifest["metadata"]["namespace"]) == ("verify-disruptions", "evenkeel")


def test_its_pod_satisfies_the_restricted_standard_and_gets_nothing_from_kubernetes(load: Manifests) -> None:
    job = load.one("Job", "verify-disruptions")
    like = overlay("local").one("Deployment", "user-api")
    for name in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert pod(job)[name] == pod(like)[name]
    assert main_container(job)["securityContext"] == main_container(like)["securityContext"]
    assert load.one("ServiceAccount", pod(job)["serviceAccountName"])["automountServiceAccountToken"] is False
    assert {"requests", "limits"} <= main_container(job)["resources"].keys()


def test_it_runs_once_and_not_for_ever(load: Manifests) -> None:
    """A second pod would begin with counters of its own, and its log would not continue the first one's."""
    spec = load.one("Job", "verify-disruptions")["spec"]
    assert (spec["backoffLimit"], pod({"spec": spec})["restartPolicy"]) == (0, "Never")
    assert spec["activeDeadlineSeconds"] == 7200


def test_it_reaches_the_gateway_and_nothing_else(load: Manifests) -> None:
    local = overlay("local")
    labels = load.one("Job", "verify-disruptions")["spec"]["template"]["metadata"]["labels"]
    (policy,) = load.of("NetworkPolicy")
    assert selects(policy["spec"]["podSelector"], labels)
    assert policy["spec"]["policyTypes"] == ["Egress"], "nothing connects to it"
    (rule,) = policy["spec"]["egress"]
    ((peer,), (port,)) = rule["to"], rule["ports"]
    assert selects(peer["podSelector"], {"app.kubernetes.io/name": "gateway"})
    assert ("gateway", "anywhere", port["port"]) in edges(local, "ingress", "from")
    for service in local.of("Service"):
        assert not selects({"matchLabels": service["spec"]["selector"]}, labels), "no Service sends it requests"
    assert main_container(load.one("Job", "verify-disruptions"))["image"] == "evenkeel/verify:dev"
