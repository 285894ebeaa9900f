"""Envoy: the repository's configuration with local addresses, and the endpoints as files."""

import json
import os
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from stack import wheels
from stack.files import write_atomically, write_json
from stack.layout import Layout
from stack.probe import http_get
from stack.process import Program

DOCS_PAGE_IN_IMAGE = "/etc/envoy/docs.html"


def local_variant(
    config: dict[str, Any], *, port: int, admin_socket: Path, endpoints: Path, docs_page: Path
) -> dict[str, Any]:
    """The configuration of the containers with its addresses replaced; policies stay as they are.

    It listens on 127.0.0.1:port, is administered on a Unix socket, and takes each cluster's endpoints from a file in
    the directory `endpoints`.
    """
    local = deepcopy(config)  # also dissolves what YAML aliases share
    local["admin"]["address"] = {"pipe": {"path": str(admin_socket), "mode": 0o600}}
    resources = local["static_resources"]
    # The listener for container health checks is of no use here.
    resources["listeners"] = [listener for listener in resources["listeners"] if listener["name"] == "public"]
    [listener] = resources["listeners"]
    listener["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    # With SO_REUSEPORT a second Envoy would share the port without a word.
    listener["enable_reuse_port"] = False
    for cluster in resources["clusters"]:
        for dns in ("cluster_type", "load_assignment"):
            del cluster[dns]
        cluster["type"] = "EDS"
        cluster["eds_cluster_config"] = {
            "eds_config": {
                "resource_api_version": "V3",
                "path_config_source": {"path": str(endpoints_file(endpoints, cluster["name"]))},
            }
        }
    _replace_filename(local, DOCS_PAGE_IN_IMAGE, str(docs_page))
    return local


def endpoints_file(directory: Path, service: str) -> Path:
    return directory / f"{service}.json"


def cluster_load_assignment(service: str, ports: Iterable[int]) -> dict[str, Any]:
    """What Envoy's endpoint discovery reads: the ports of 127.0.0.1 on which replicas of the service listen."""
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
        for port in sorted(ports)
    ]
    return {
        "resources": [
            {
                "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                "cluster_name": service,
                "endpoints": [{"lb_endpoints": endpoints}],
            }
        ]
    }


class Gateway:
    """The files Envoy reads and the questions it answers."""

    def __init__(self, layout: Layout, port: int) -> None:
        self._layout = layout
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def prepare(self) -> None:
        """Write the configuration; the endpoints must have been published."""
        folder = self._layout.repository / "gateway"
        variant = local_variant(
            yaml.safe_load((folder / "envoy.yaml").read_text()),
            port=self.port,
            admin_socket=self._layout.admin_socket,
            endpoints=self._layout.gateway,
            docs_page=folder / "docs.html",
        )
        write_json(self._configuration, variant)

    def program(self) -> Program:
        return Program(
            name="gateway",
            service="gateway",
            argv=[
                *(str(wheels.program("envoy", "_bin/envoy")), "--config-path", str(self._configuration)),
                # Hot restart shares memory between Envoys of one base id: stacks would collide.
                "--disable-hot-restart",
                *("--log-level", "warning"),
                *("--concurrency", str(min(4, os.cpu_count() or 1))),
            ],
            ready=self.ready,
            url=self.url,
        )

    def publish(self, service: str, ports: Iterable[int]) -> None:
        """Tell Envoy where the service's replicas are."""
        path = endpoints_file(self._layout.gateway, service)
        write_atomically(path, json.dumps(cluster_load_assignment(service, ports)))

    async def ready(self) -> bool:
        answer = await http_get("/ready", unix_socket=self._layout.admin_socket)
        return answer is not None and answer.status == 200

    async def healthy_ports(self, service: str) -> set[int]:
        """The ports of the service to which Envoy now sends requests."""
        answer = await http_get("/clusters?format=json", unix_socket=self._layout.admin_socket)
        if answer is None or answer.status != 200:
            return set()
        clusters = {cluster["name"]: cluster for cluster in json.loads(answer.body).get("cluster_statuses", [])}
        return {
            host["address"]["socket_address"]["port_value"]
            for host in clusters.get(service, {}).get("host_statuses", [])
            if not host["health_status"].get("failed_active_health_check")
        }

    @property
    def _configuration(self) -> Path:
        return self._layout.gateway / "envoy.json"


def _replace_filename(node: Any, old: str, new: str) -> None:
    if isinstance(node, dict):
        if node.get("filename") == old:
            node["filename"] = new
        for child in node.values():
            _replace_filename(child, old, new)
    elif isinstance(node, list):
        for child in node:
            _replace_filename(child, old, new)
