"""The components, as far as no schema here describes their kinds of objects."""

import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import yaml
from prometheus_client import CollectorRegistry
from tests.deploy.manifests import BUILT_IN, K8S, OVERLAYS, SETTINGS, Manifests, main_container, named, overlay, selects

from counter_api.metrics import Metrics as CounterMetrics
from evenkeel.cache import Metrics as CacheMetrics
from evenkeel.http.request_context import RequestContext
from evenkeel.service.readiness import Readiness
from user_api.pool import Pool
from user_api.settings import Settings

pytestmark = pytest.mark.xdist_group("kubernetes")

GATEWAY = K8S.parents[1] / "gateway"

METRIC = re.compile(r"\b(?P<name>(?:http|cache|counter|database|readiness)_\w+)(?:\{(?P<matchers>[^}]*)\})?")
SERIES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
FROM_PROMETHEUS = {"job", "namespace", "pod", "instance", "le"}


@pytest.fixture(params=OVERLAYS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def _custom(manifests: Manifests) -> set[tuple[str, str, str]]:
    return {
        (one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in manifests if one["kind"] not in BUILT_IN
    }


def test_components_add_these_custom_resources(name: str) -> None:
    assert _custom(overlay(name)) == set()
    assert _custom(overlay(name, "gateway-api")) == {
        ("gateway.networking.k8s.io/v1", "HTTPRoute", "gateway"),
        ("gateway.networking.k8s.io/v1", "BackendTLSPolicy", "gateway"),
    }
    assert _custom(overlay(name, "monitoring")) == {
        ("monitoring.coreos.com/v1", "ServiceMonitor", "evenkeel"),
        ("monitoring.coreos.com/v1", "PrometheusRule", "evenkeel"),
    }
    assert _custom(overlay(name, "keda")) == {
        ("keda.sh/v1alpha1", "ScaledObject", "user-api"),
        ("keda.sh/v1alpha1", "ScaledObject", "counter-api"),
    }


def test_a_route_leads_to_the_port_that_the_gateway_has(name: str) -> None:
    manifests = overlay(name, "gateway-api")
    route = manifests.one("HTTPRoute", "gateway")["spec"]
    (parent,) = route["parentRefs"]
    assert parent.keys() == {"name", "namespace"}
    (hostname,) = route["hostnames"]
    (rule,) = route["rules"]
    (port,) = manifests.one("Service", "gateway")["spec"]["ports"]
    assert rule == {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "timeouts": {"request": "0s"},  # event streams have no end
        "backendRefs": [{"kind": "Service", "name": "gateway", "port": port["port"]}],
    }
    policy = manifests.one("BackendTLSPolicy", "gateway")["spec"]
    assert policy == {
        "targetRefs": [{"group": "", "kind": "Service", "name": "gateway", "sectionName": "https"}],
        "validation": {
            "hostname": hostname,
            "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "gateway-ca"}],
        },
    }


def test_keda_takes_the_place_of_the_autoscalers_and_keeps_to_their_bounds(name: str) -> None:
    before, after = overlay(name), overlay(name, "keda")
    assert named(after.of("HorizontalPodAutoscaler")) == {"gateway"}
    for service in SETTINGS:
        scaled = after.one("ScaledObject", service)["spec"]
        autoscaler = before.one("HorizontalPodAutoscaler", service)["spec"]
        assert scaled["scaleTargetRef"] == autoscaler["scaleTargetRef"]
        assert scaled["minReplicaCount"] == autoscaler["minReplicas"]
        assert scaled["maxReplicaCount"] == scaled["fallback"]["replicas"] == autoscaler["maxReplicas"]
        pace = scaled["advanced"]["horizontalPodAutoscalerConfig"]
        assert pace["behavior"] == autoscaler["behavior"]
        (trigger,) = scaled["triggers"]
        assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
        assert trigger["metadata"].keys() == {"serverAddress", "query", "threshold"}
        assert f'job="{service}"' in trigger["metadata"]["query"]


def test_prometheus_finds_both_services(name: str) -> None:
    manifests = overlay(name, "monitoring")
    monitor = manifests.one("ServiceMonitor", "evenkeel")["spec"]
    found = [
        service for service in manifests.of("Service") if selects(monitor["selector"], service["metadata"]["labels"])
    ]
    assert named(found) == set(SETTINGS)
    (endpoint,) = monitor["endpoints"]
    assert endpoint["path"] == "/metrics"
    for service in found:
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        assert service["metadata"]["labels"][monitor["jobLabel"]] == service["metadata"]["name"], "`job` in queries"


def test_grafana_finds_the_dashboard(name: str) -> None:
    manifest = overlay(name, "monitoring").one("ConfigMap", "grafana-dashboard")
    assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = manifest["data"].values()
    board = json.loads(text)
    assert (board["uid"], board["title"]) == ("evenkeel", "Evenkeel")
    assert {variable["name"] for variable in board["templating"]["list"]} == {"source"}
    places = [tuple(panel["gridPos"][key] for key in "xy") for panel in board["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in board["panels"]}) >= 8
    for panel in board["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        assert panel["targets"]


def test_alerts_say_what_and_how_bad() -> None:
    (group,) = overlay("local", "monitoring").one("PrometheusRule", "evenkeel")["spec"]["groups"]
    alerts = [rule["alert"] for rule in group["rules"]]
    assert len(set(alerts)) == len(alerts) >= 8
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]


def _queries(manifests: Manifests) -> Iterator[str]:
    for group in manifests.one("PrometheusRule", "evenkeel")["spec"]["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads(manifests.data("ConfigMap", "grafana-dashboard")["evenkeel.json"])["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for scaled in manifests.of("ScaledObject"):
        yield from (trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"])


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The labels of all series that the services export."""
    monkeypatch.setenv("USER_API_DATABASE_URL", "postgresql://user:password@localhost/database")
    monkeypatch.setenv("USER_API_CACHE_TIERS", "")
    registry = CollectorRegistry()
    CacheMetrics(registry)
    CounterMetrics(registry)
    RequestContext(_nothing, replica="replica", registry=registry)
    Pool(Settings(), size=1).observe(registry)
    Readiness({}, registry=registry)
    return {
        collector._name + ending: set(collector._labelnames)  # type: ignore[attr-defined]
        for collector in set(registry._names_to_collectors.values())
        for ending in SERIES[collector._type]  # type: ignore[attr-defined]
    }


async def _nothing(*_: object) -> None:
    """An application that gets no requests."""


def test_every_query_is_about_metrics_that_there_are(metrics: dict[str, set[str]]) -> None:
    queries = list(_queries(overlay("local", "monitoring", "keda")))
    asked = [match for query in queries for match in METRIC.finditer(query)]
    assert {match["name"] for match in asked} - metrics.keys() == set()
    for match in asked:
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", match["matchers"] or ""))
        assert "namespace" in labels, match[0]
        assert labels <= metrics[match["name"]] | FROM_PROMETHEUS, match[0]
    for query in queries:
        grouped = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", query) for label in labels.split(",")}
        known: set[str] = set().union(*(metrics[match["name"]] for match in METRIC.finditer(query)))
        assert grouped <= known | FROM_PROMETHEUS, query


def test_everything_that_there_is_to_know_is_asked_for_somewhere(metrics: dict[str, set[str]]) -> None:
    """Metrics that only explain others are left out: fills, shared loads, waits, forgotten keys."""
    asked = {match["name"] for query in _queries(overlay("local", "monitoring")) for match in METRIC.finditer(query)}
    families = {re.sub(r"_(total|bucket|sum|count)$", "", series) for series in metrics}
    unasked = families - {re.sub(r"_(total|bucket|sum|count)$", "", series) for series in asked}
    assert unasked == {
        *("cache_fills", "cache_lease_waits", "cache_collapsed_reads", "cache_invalidations", "cache_flushes"),
        *("cache_memory_entries", "cache_relay_active", "counter_uncounted_requests"),
    }


def test_with_ipv6_only_everything_listens_there(name: str) -> None:
    manifests = overlay(name, "ipv6")
    for service in ("user-api", "counter-api"):
        settings = manifests.one("ConfigMap", service)["data"]
        assert settings[f"{service.upper().replace('-', '_')}_HOST"] == "::"
    arguments = main_container(manifests.one("Deployment", "gateway"))["args"]
    where = arguments.index("--config-yaml")
    bootstrap = yaml.safe_load(arguments[where + 1])
    listeners = bootstrap["dynamic_resources"]["lds_config"]["path_config_source"]
    assert listeners == {"path": "/etc/envoy/ipv6/listeners.yaml", "watched_directory": {"path": "/etc/envoy/ipv6"}}
    dockerfile = (GATEWAY / "Dockerfile").read_text()
    (command,) = re.findall(r"^CMD (\[[^]]*\])", dockerfile.replace("\\\n", ""), re.MULTILINE)
    assert arguments[:where] + arguments[where + 2 :] == json.loads(command), "else the image's own arguments"


def test_the_image_has_the_same_listeners_for_ipv6() -> None:
    (expression,) = re.findall(r"RUN sed '(.*)' /etc/envoy/listeners.yaml", (GATEWAY / "Dockerfile").read_text())
    _, pattern, replacement, _ = expression.split("/")
    listeners = (GATEWAY / "listeners.yaml").read_text()
    ours, theirs = yaml.safe_load(listeners), yaml.safe_load(re.sub(pattern, replacement, listeners))
    for listener in theirs["resources"]:
        assert listener["address"]["socket_address"]["address"] == "::"
        listener["address"]["socket_address"]["address"] = "0.0.0.0"
    assert theirs == ours


def test_with_tracing_every_pod_knows_the_collector_and_the_gateway_alone_chooses(name: str) -> None:
    """So no caller can have all of its requests traced, and a trace is complete."""
    before, after = overlay(name), overlay(name, "tracing")
    added = {
        service: dict(after.data("ConfigMap", service).items() - before.data("ConfigMap", service).items())
        for service in ("gateway", "user-api", "counter-api")
    }
    [endpoint] = {settings.pop("OTEL_EXPORTER_OTLP_ENDPOINT") for settings in added.values()}
    assert added == {
        "gateway": {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"},
        "user-api": {"OTEL_TRACES_SAMPLER": "parentbased_always_off"},
        "counter-api": {"OTEL_TRACES_SAMPLER": "parentbased_always_off"},
    }
    host, namespace = str(urlsplit(endpoint).hostname).split(".")
    policy = after.one("NetworkPolicy", "to-collector")["spec"]["egress"]
    assert host
    assert policy == [
        {
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}],
            "ports": [{"protocol": "TCP", "port": urlsplit(endpoint).port}],
        }
    ]
    assert after.one("Deployment", "gateway") != before.one("Deployment", "gateway"), "else pods are not replaced"
