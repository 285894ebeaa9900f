"""The local variant of gateway/envoy.yaml, and the configuration itself."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack import wheels
from stack.gateway import DOCS_PAGE_IN_IMAGE, cluster_load_assignment, local_variant
from stack.layout import repository_root

GATEWAY = repository_root() / "gateway"


@pytest.fixture
def config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((GATEWAY / "envoy.yaml").read_text())
    return loaded


@pytest.fixture
def variant(config: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    return local_variant(
        config,
        port=8123,
        admin_socket=tmp_path / "envoy.sock",
        endpoints=tmp_path,
        docs_page=GATEWAY / "docs.html",
    )


def test_the_variant_is_reachable_from_this_machine_only(variant: dict[str, Any], tmp_path: Path) -> None:
    [listener] = variant["static_resources"]["listeners"]
    assert listener["address"] == {"socket_address": {"address": "127.0.0.1", "port_value": 8123}}
    assert listener["enable_reuse_port"] is False
    assert variant["admin"] == {"address": {"pipe": {"path": str(tmp_path / "envoy.sock"), "mode": 0o600}}}


def test_the_variant_takes_endpoints_from_files(variant: dict[str, Any], tmp_path: Path) -> None:
    paths = {
        cluster["name"]: cluster["eds_cluster_config"]["eds_config"]["path_config_source"]["path"]
        for cluster in variant["static_resources"]["clusters"]
    }
    assert paths == {name: str(tmp_path / f"{name}.json") for name in ("user-api", "counter-api")}


def test_the_variant_has_the_policies_of_the_containers(config: dict[str, Any], variant: dict[str, Any]) -> None:
    addresses = {"cluster_type", "load_assignment", "type", "eds_cluster_config"}
    for original, local in zip(
        config["static_resources"]["clusters"], variant["static_resources"]["clusters"], strict=True
    ):
        assert {k: v for k, v in original.items() if k not in addresses} == {
            k: v for k, v in local.items() if k not in addresses
        }
    original_chains = json.dumps(config["static_resources"]["listeners"][0]["filter_chains"])
    local_chains = json.dumps(variant["static_resources"]["listeners"][0]["filter_chains"])
    assert local_chains == original_chains.replace(DOCS_PAGE_IN_IMAGE, str(GATEWAY / "docs.html"))


def test_the_original_is_not_changed(config: dict[str, Any], tmp_path: Path) -> None:
    before = json.dumps(config)
    local_variant(config, port=1, admin_socket=tmp_path, endpoints=tmp_path, docs_page=tmp_path)
    assert json.dumps(config) == before


def test_endpoints_are_sorted_and_on_loopback() -> None:
    [resource] = cluster_load_assignment("user-api", {20002, 20001})["resources"]
    assert resource["cluster_name"] == "user-api"
    assert [
        endpoint["endpoint"]["address"]["socket_address"] for endpoint in resource["endpoints"][0]["lb_endpoints"]
    ] == [{"address": "127.0.0.1", "port_value": 20001}, {"address": "127.0.0.1", "port_value": 20002}]


@pytest.mark.parametrize("which", ["containers", "local"])
def test_envoy_accepts_it_without_a_warning(
    which: str, config: dict[str, Any], variant: dict[str, Any], tmp_path: Path
) -> None:
    if which == "containers":
        text = yaml.safe_dump(config).replace(DOCS_PAGE_IN_IMAGE, str(GATEWAY / "docs.html"))
    else:
        for name in ("user-api", "counter-api"):
            (tmp_path / f"{name}.json").write_text(json.dumps(cluster_load_assignment(name, [20001])))
        text = yaml.safe_dump(variant)
    path = tmp_path / "envoy.yaml"
    path.write_text(text)
    envoy = wheels.program("envoy", "_bin/envoy")
    validation = subprocess.run(
        [envoy, "--mode", "validate", "--config-path", path, "--log-level", "warning"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (validation.returncode, validation.stderr) == (0, "")
