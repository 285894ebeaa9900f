"""Access: the local overlay is open but reachable only by port-forward; production needs tokens, over TLS."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import pytest
import yaml
from tests.deploy.manifests import Manifests, Object, main_container, pod

from stack.browsers import VARIABLES

pytestmark = pytest.mark.xdist_group("kubernetes")

GATEWAY = Path(__file__).parents[2] / "gateway"
EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"
ENVOY = Path(sys.executable).with_name("envoy")


def _access(manifests: Manifests) -> tuple[Object, list[Object]]:
    """The filter that determines scopes, and the clusters that it needs."""
    files = manifests.data("ConfigMap", "gateway-access")
    (found,) = yaml.safe_load(files["filter.yaml"])["resources"]
    return found, yaml.safe_load(files["clusters.yaml"])["resources"]


def _mounts(manifests: Manifests) -> dict[str, tuple[dict[str, Any], bool]]:
    """The mount paths of the gateway with their volumes, and whether these are read-only."""
    deployment = manifests.one("Deployment", "gateway")
    volumes = {volume["name"]: volume for volume in pod(deployment)["volumes"]}
    return {
        mount["mountPath"]: (
            {key: value for key, value in volumes[mount["name"]].items() if key != "name"},
            mount.get("readOnly", False),
        )
        for mount in main_container(deployment)["volumeMounts"]
    }


def test_the_gateway_has_its_access_rules_where_it_looks_for_them(manifests: Manifests) -> None:
    name = manifests.one("ConfigMap", "gateway-access")["metadata"]["name"]
    assert _mounts(manifests)["/etc/envoy/access"] == ({"configMap": {"name": name}}, True)


def test_the_gateway_gets_the_settings_about_pages_and_names(manifests: Manifests) -> None:
    """Empty, because an overlay sets them. Only the name of the gateway's own Service is set, from cluster and
    namespace.
    """
    config = manifests.one("ConfigMap", "gateway")
    of_the_gateway = {name: value for name, value in config["data"].items() if name.startswith("GATEWAY_")}
    assert of_the_gateway == dict.fromkeys(VARIABLES, "")
    container = main_container(manifests.one("Deployment", "gateway"))
    assert container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    assert container["env"] == [
        {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "GATEWAY_SERVICE", "value": f"{manifests.one('Service', 'gateway')['metadata']['name']}.$(NAMESPACE)"},
    ]


def test_local_uses_the_repositorys_own_open_access(local: Manifests) -> None:
    files = local.data("ConfigMap", "gateway-access")
    assert files == {name: (GATEWAY / "access/open" / name).read_text() for name in ("filter.yaml", "clusters.yaml")}
    assert _mounts(local).keys() == {"/etc/envoy/access"}
    assert local.one("Service", "gateway")["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]


def test_production_asks_for_tokens_as_the_repository_does_elsewhere(production: Manifests) -> None:
    """All rules are the same. Only the issuer and the source of the keys differ."""
    ours, _ = _access(production)
    (theirs,) = yaml.safe_load((GATEWAY / "access/tokens/filter.yaml").read_text())["resources"]
    (provider,) = ours["typed_config"]["providers"].values()
    (other,) = theirs["typed_config"]["providers"].values()
    assert provider.pop("issuer").startswith("https://")
    assert provider.pop("remote_jwks")
    assert other.pop("issuer")
    assert other.pop("local_jwks")
    assert ours == theirs


def test_production_fetches_keys_from_the_host_that_it_verifies(production: Manifests) -> None:
    found, (cluster,) = _access(production)
    (provider,) = found["typed_config"]["providers"].values()
    source = provider["remote_jwks"]["http_uri"]
    url = urlsplit(source["uri"])
    assert url.scheme == "https"
    assert cluster["name"] == source["cluster"]
    (locality,) = cluster["load_assignment"]["endpoints"]
    (endpoint,) = locality["lb_endpoints"]
    address = endpoint["endpoint"]["address"]["socket_address"]
    tls = cluster["transport_socket"]["typed_config"]
    validation = tls["common_tls_context"]["validation_context"]
    (names,) = validation["match_typed_subject_alt_names"]
    assert validation["trusted_ca"]["filename"] == "/etc/ssl/certs/ca-certificates.crt", "in Envoy's image"
    assert {address["address"], tls["sni"], names["matcher"]["exact"]} == {url.hostname}
    assert address["port_value"] == (url.port or 443)


def test_envoy_understands_productions_access_rules(production: Manifests, tmp_path: Path) -> None:
    found, (cluster,) = _access(production)
    context = cluster["transport_socket"]["typed_config"]["common_tls_context"]["validation_context"]
    context["trusted_ca"]["filename"] = certifi.where()
    manager = {
        "@type": f"{EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "public",
        "route_config": {"virtual_hosts": []},
        "http_filters": [
            {"name": found["name"], "typed_config": found["typed_config"]},
            {
                "name": "router",
                "typed_config": {"@type": f"{EXTENSIONS}.http.router.v3.Router"},
            },
        ],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    cluster.pop("@type")
    bootstrap = tmp_path / "envoy.yaml"
    bootstrap.write_text(yaml.safe_dump({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    ended = subprocess.run(
        [ENVOY, "--mode", "validate", "--config-path", bootstrap], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


def test_production_is_reached_over_tls_only(production: Manifests) -> None:
    assert production.one("Service", "gateway")["spec"]["ports"] == [
        {"name": "https", "port": 443, "targetPort": "https"}
    ]
    deployment = production.one("Deployment", "gateway")
    ports = {port["name"]: port["containerPort"] for port in main_container(deployment)["ports"]}
    assert ports["https"] == 8443
    volume, read_only = _mounts(production)["/etc/envoy/tls"]
    assert volume == {"secret": {"secretName": "gateway-tls", "defaultMode": 0o440}}
    assert read_only
    security = pod(deployment)["securityContext"]
    assert security["fsGroup"] == security["runAsGroup"], "or it could not read the key"
