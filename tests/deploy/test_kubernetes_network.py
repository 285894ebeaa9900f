"""Pods connect only along these edges."""

import pytest
from tests.deploy.manifests import Manifests, overlay, pod_name, selects

pytestmark = pytest.mark.xdist_group("kubernetes")

BETWEEN_SERVICES = {("gateway", "user-api", 8000), ("gateway", "counter-api", 8000)}
Edges = set[tuple[str, str, int]]


def edges(manifests: Manifests, direction: str, peers: str) -> Edges:
    """(selected pod, peer or `anywhere`, port), from the policies for particular pods."""
    names = {pod_name(workload) for workload in manifests.workloads}

    def selected(selector: dict[str, object]) -> set[str]:
        return {name for name in names if selects(selector, {"app.kubernetes.io/name": name})}

    def who(peer: dict[str, dict[str, object]]) -> set[str]:
        if "namespaceSelector" in peer:
            labels = peer["namespaceSelector"]["matchLabels"]
            assert isinstance(labels, dict)
            return set(labels.values())
        return selected(peer["podSelector"]) if "podSelector" in peer else {"anywhere"}

    return {
        (name, other, port["port"])
        for policy in (manifest["spec"] for manifest in manifests.of("NetworkPolicy"))
        if policy["podSelector"]
        for name in selected(policy["podSelector"])
        for rule in policy.get(direction, [])
        for peer in rule.get(peers, [{}])
        for other in who(peer)
        for port in rule["ports"]
    }


def _reversed(found: Edges) -> Edges:
    return {(target, source, port) for source, target, port in found}


def test_all_is_denied_but_dns(manifests: Manifests) -> None:
    policies = [manifest["spec"] for manifest in manifests.of("NetworkPolicy")]
    everyone = [policy for policy in policies if policy["podSelector"] == {}]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in everyone
    (dns,) = [policy["egress"] for policy in everyone if "egress" in policy]
    assert dns == [{"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}]
    assert not any("ingress" in policy for policy in everyone)


def test_policies_select_somebody_and_say_ports(manifests: Manifests) -> None:
    names = [{"app.kubernetes.io/name": pod_name(workload)} for workload in manifests.workloads]
    for policy in manifests.of("NetworkPolicy"):
        spec = policy["spec"]
        assert any(selects(spec["podSelector"], labels) for labels in names)
        rules = [(direction, rule) for direction in ("ingress", "egress") for rule in spec.get(direction, [])]
        assert {direction.capitalize() for direction, _ in rules} <= set(spec["policyTypes"])
        assert all(rule["ports"] for _, rule in rules)


def test_local_allows_these_edges_and_no_other(local: Manifests) -> None:
    within = BETWEEN_SERVICES | {
        ("user-api", "postgres", 5432),
        ("user-api", "redis-cache", 6379),
        ("counter-api", "redis-counters", 6379),
    }
    assert edges(local, "egress", "to") == within
    assert edges(local, "ingress", "from") == _reversed(within) | {("gateway", "anywhere", 8080)}


def test_production_allows_these_edges_and_no_other(production: Manifests) -> None:
    """In: TLS only. Out: the data servers, and the source of the keys for access tokens."""
    assert edges(production, "egress", "to") == BETWEEN_SERVICES | {
        ("user-api", "anywhere", 5432),
        ("user-api", "anywhere", 6379),
        ("counter-api", "anywhere", 6379),
        ("gateway", "anywhere", 443),
    }
    assert edges(production, "ingress", "from") == _reversed(BETWEEN_SERVICES) | {("gateway", "anywhere", 8443)}


def test_monitoring_lets_prometheus_in_and_the_other_components_nobody(local: Manifests) -> None:
    def ingress(*components: str) -> Edges:
        return edges(overlay("local", *components), "ingress", "from") - edges(local, "ingress", "from")

    assert ingress("monitoring") == {("user-api", "monitoring", 8000), ("counter-api", "monitoring", 8000)}
    assert ingress("gateway-api") == ingress("keda") == ingress("tracing") == set()


def test_tracing_lets_pods_reach_the_collector_and_nothing_else(local: Manifests) -> None:
    traced = overlay("local", "tracing")
    assert edges(traced, "egress", "to") - edges(local, "egress", "to") == {
        (name, "monitoring", 4318) for name in ("gateway", "user-api", "counter-api")
    }
