"""Compose's profile `observability`: as far as it can be judged without its images."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import promtool

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/observability"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
INCLUDED: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
PROFILE: dict[str, Any] = INCLUDED["services"]


def test_without_the_profile_there_is_nothing_of_it() -> None:
    assert PROFILE.keys() == {"otel-collector", "jaeger", "prometheus", "grafana"}
    assert all(service["profiles"] == ["observability"] for service in PROFILE.values())
    assert COMPOSE["include"] == ["deploy/observability/compose.yaml"]
    assert not any(PROFILE.keys() & service.get("depends_on", {}).keys() for service in COMPOSE["services"].values())


def test_grafana_alone_is_published_on_loopback() -> None:
    published = {name: service["ports"] for name, service in PROFILE.items() if "ports" in service}
    assert published == {"grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"]}
    assert {name for name, service in PROFILE.items() if "public" in service["networks"]} == {"grafana"}
    networks = INCLUDED["networks"]
    assert networks.pop("observability") == {"internal": True}
    assert networks.items() <= COMPOSE["networks"].items(), "else they are conflicts"


def test_images_are_pinned_by_version() -> None:
    for service in PROFILE.values():
        assert re.fullmatch(r"(grafana|jaegertracing|otel|prom)/[a-z-]+:v?\d+\.\d+\.\d+", service["image"])


@pytest.mark.parametrize("service", ["gateway", "user-api", "counter-api"])
def test_the_profile_switches_traces_on(service: str) -> None:
    settings = COMPOSE["services"][service]["environment"]
    endpoint = settings["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert endpoint == "${OTEL_EXPORTER_OTLP_ENDPOINT-${COMPOSE_PROFILES:+http://otel-collector:4318}}"
    assert settings["OTEL_TRACES_SAMPLER"] == "${OTEL_TRACES_SAMPLER:-parentbased_always_on}"


def test_every_file_that_is_mounted_is_there() -> None:
    mounted = [volume.split(":")[0] for service in PROFILE.values() for volume in service.get("volumes", ())]
    assert all((FOLDER / path).exists() for path in mounted if path.startswith("."))
    assert {"../k8s/components/monitoring/alerts.yaml", "../k8s/components/monitoring/evenkeel.json"} <= set(mounted)


def test_sources_of_the_dashboard() -> None:
    sources = yaml.safe_load((FOLDER / "grafana/datasources/sources.yaml").read_text())["datasources"]
    assert {source["uid"]: source["url"] for source in sources} == {
        "prometheus": "http://prometheus:9090",
        "jaeger": "http://jaeger:16686",
    }
    [prometheus, _] = sources
    assert prometheus["jsonData"]["exemplarTraceIdDestinations"] == [{"name": "trace_id", "datasourceUid": "jaeger"}]
    [provider] = yaml.safe_load((FOLDER / "grafana/dashboards/files.yaml").read_text())["providers"]
    assert provider["options"]["path"] == "/etc/grafana/evenkeel"
    board = json.loads(promtool.ALERTS.with_name("evenkeel.json").read_text())
    assert any(target.get("exemplar") for panel in board["panels"] for target in panel["targets"])


def _lost(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Where the second document lacks something of the first."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            yield from _lost(value, kept.get(name), f"{path}.{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, value in enumerate(given):
            yield from _lost(value, kept[number], f"{path}[{number}]")
    elif given != kept:
        yield path


def test_grafana_knows_every_member_of_the_dashboard() -> None:
    """Its own library reads the dashboard, and writes it again. What it does not know is lost, or an error."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: PLC0415 (slow at the top)
    from grafana_foundation_sdk.cog.plugins import register_default_plugins  # noqa: PLC0415 (as above)
    from grafana_foundation_sdk.models.dashboard import Dashboard  # noqa: PLC0415 (as above)

    register_default_plugins()
    board = json.loads(promtool.ALERTS.with_name("evenkeel.json").read_text())
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert list(_lost(board, written)) == []
    misspelt = json.dumps(board).replace('"gridPos"', '"gridPosition"').replace('"legendFormat"', '"legend"')
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(misspelt))))
    lost = {path.rpartition(".")[2] for path in _lost(json.loads(misspelt), written)}
    assert lost == {"gridPosition", "legend"}


def test_the_collector_passes_on_what_it_gets() -> None:
    collector = yaml.safe_load((FOLDER / "collector.yaml").read_text())
    pipeline = collector["service"]["pipelines"]["traces"]
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(collector[kind])
    assert collector["receivers"]["otlp"]["protocols"] == {"http": {"endpoint": "0.0.0.0:4318"}}
    assert collector["exporters"]["otlp"]["endpoint"] == "jaeger:4317"


@pytest.mark.promtool
def test_prometheus_accepts_its_configuration() -> None:
    assert "SUCCESS" in promtool.run("check", "config", "--syntax-only", FOLDER / "prometheus.yaml")


def test_labels_are_those_of_kubernetes() -> None:
    for job in yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"]:
        [names] = job["dns_sd_configs"]
        assert names["names"] == [job["job_name"]]
        assert [rule["target_label"] for rule in job["relabel_configs"]] == ["namespace", "pod"]
