"""Envoy: the repository's configuration with local addresses, and the endpoints as files."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from stack import access, browsers, wheels
from stack.access import Access
from stack.errors import StackError
from stack.files import json_text, write_atomically, write_json
from stack.http_probe import http_get
from stack.layout import Layout
from stack.process import Program
from stack.reload import Discovery, Rejected
from stack.yaml_files import read_yaml

IN_IMAGE = "/etc/envoy"
"""Where the container has the files of the repository's folder `gateway`."""

AS_IT_IS = ("console.html", "docs.html", "browsers.lua", "caller.lua")
"""Files that listeners.yaml refers to and that have no local variant."""

TRACING = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables with which the gateway and the services trace."""

DRAIN_SECONDS = 360
"""How long connections of a replaced configuration may go on. Event streams and idle connections end earlier.
The image is started with the same value."""


def local_bootstrap(
    config: Mapping[str, Any], *, admin_socket: Path, endpoints: Path, places: Mapping[str, Path]
) -> dict[str, Any]:
    """The bootstrap of the containers with its addresses replaced; policies stay as they are.

    Its administration listens on a Unix socket. Each cluster's endpoints are in a file in the directory `endpoints`.
    `places` maps the image's paths to local ones.
    """
    local: dict[str, Any] = relocated(config, places)
    local["admin"]["address"] = {"pipe": {"path": str(admin_socket), "mode": 0o600}}
    for cluster in local["static_resources"]["clusters"]:
        service = service_of(cluster)
        for dns in ("cluster_type", "load_assignment"):
            del cluster[dns]
        cluster["type"] = "EDS"
        cluster["eds_cluster_config"] = {
            "service_name": service,
            "eds_config": {
                "resource_api_version": "V3",
                "path_config_source": {"path": str(endpoints_file(endpoints, service))},
            },
        }
    return local


def service_of(cluster: Mapping[str, Any]) -> str:
    """The service of a cluster of the containers' bootstrap. Several clusters may have the same service."""
    return str(cluster["load_assignment"]["cluster_name"])


def local_listeners(config: Mapping[str, Any], *, port: int, places: Mapping[str, Path]) -> dict[str, Any]:
    """The public listener alone, on 127.0.0.1:port. Here is no certificate, and no container with a health check."""
    local = relocated(config, places)
    [listener] = [listener for listener in local["resources"] if listener["name"] == "public"]
    listener["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    # With SO_REUSEPORT a second Envoy would share the port silently.
    listener["enable_reuse_port"] = False
    return {"resources": [listener]}


def relocated(node: Any, places: Mapping[str, Path]) -> Any:
    """A copy without shared parts (YAML aliases). In it, paths in or below those of `places` are replaced."""
    if isinstance(node, Mapping):
        return {key: relocated(child, places) for key, child in node.items()}
    if isinstance(node, list):
        return [relocated(child, places) for child in node]
    if isinstance(node, str):
        for old in sorted(places, key=len, reverse=True):
            if node == old or node.startswith(f"{old}/"):
                return f"{places[old]}{node.removeprefix(old)}"
    return node


def places_of(folder: Path, source: Path) -> dict[str, Path]:
    """Local paths for the image's paths. Most are in a folder of the stack; some files are used where they are."""
    return {IN_IMAGE: folder} | {f"{IN_IMAGE}/{name}": source / name for name in AS_IT_IS}


def endpoints_file(directory: Path, service: str) -> Path:
    return directory / f"{service}.json"


def cluster_load_assignment(service: str, ports: Iterable[int]) -> dict[str, Any]:
    """A file for Envoy's endpoint discovery: the ports of 127.0.0.1 on which replicas of the service listen."""
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


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turns errors in reading the repository's files into a StackError."""
    try:
        yield
    except (OSError, yaml.YAMLError) as error:
        raise StackError(f"{name} cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StackError(f"{name} does not have the form that the local stack expects: {error!r}") from error


class Gateway:
    """The files that Envoy reads, and requests to its administration."""

    def __init__(
        self,
        layout: Layout,
        port: int,
        mode: Access = access.DEFAULT,
        pages: Mapping[str, str] = browsers.NONE,
    ) -> None:
        self._layout = layout
        self._source = layout.repository / "gateway"
        self.port = port
        self.access = mode
        self.pages = pages
        self.url = f"http://127.0.0.1:{port}"
        self._places = places_of(layout.gateway, self._source)
        self._discovery = Discovery(layout.admin_socket, layout.log("gateway"))

    def prepare(self) -> None:
        """Write the configuration. The endpoints must have been published before."""
        self._access.mkdir(mode=0o700, exist_ok=True)
        write_json(self.bootstrap, self._own_bootstrap())
        for path, text in self._own_files(self.access).items():
            write_atomically(path, text)

    async def reload(self, mode: Access | None = None) -> None:
        """Write the configuration again, from the repository's present files, and return when Envoy uses it.

        Raises StackError with Envoy's reason if Envoy rejects it. The previous configuration then stays in force.
        """
        mode = mode or self.access
        wanted = self._own_files(mode)
        before = {path: path.read_text() for path in wanted if path.exists()}
        try:
            await self._discovery.replace(wanted)
        except Rejected as rejected:
            with suppress(Rejected):  # Envoy may read one file before the other is back
                await self._discovery.replace(before)
            raise StackError(
                f"Envoy rejected the configuration, and the previous one stays in force: {rejected}"
            ) from None
        except StackError:  # Envoy may or may not have read it; a restart must not use files that it might reject
            for path, text in before.items():
                write_atomically(path, text)
            raise
        self.access = mode
        if self.bootstrap.read_text() != json_text(self._own_bootstrap()):
            raise StackError(
                "gateway/envoy.yaml has changed, which Envoy reads only as it starts: run `make down`, then `make up`;"
                " everything else is reloaded"
            )

    def program(self) -> Program:
        envoy = str(wheels.program("envoy", "_bin/envoy"))
        tracing = any(os.environ.get(name) for name in TRACING)  # the script adds it, and then becomes Envoy
        return Program(
            name="gateway",
            service="gateway",
            argv=[
                *(["bash", str(self._source / "start")] if tracing else [envoy]),
                *("--config-path", str(self.bootstrap)),
                # With hot restart, Envoys of one base id share memory, and stacks would collide.
                "--disable-hot-restart",
                *("--drain-time-s", str(DRAIN_SECONDS), "--drain-strategy", "immediate"),
                "--reject-unknown-dynamic-fields",  # a misspelt policy would have no effect
                *("--log-level", "warning"),
                *("--concurrency", str(min(4, os.cpu_count() or 1))),
            ],
            ready=self.ready,
            url=self.url,
            environment={**self.pages, "ENVOY": envoy} if tracing else self.pages,
        )

    def publish(self, service: str, ports: Iterable[int]) -> None:
        """Write the ports of the service's replicas to the file that Envoy watches."""
        path = endpoints_file(self._layout.gateway, service)
        write_atomically(path, json.dumps(cluster_load_assignment(service, ports)))

    async def ready(self) -> bool:
        answer = await http_get("/ready", unix_socket=self._layout.admin_socket)
        return answer is not None and answer.status == 200 and await self._discovery.begun()

    async def check(self) -> None:
        """Raise StackError with Envoy's reason if Envoy rejected its configuration as it started."""
        try:
            await self._discovery.check()
        except Rejected as rejected:
            raise StackError(f"Envoy rejected its configuration: {rejected}") from None

    async def healthy_ports(self, service: str) -> set[int]:
        """The ports of the service to which Envoy now sends requests of every kind.

        Empty as long as its clusters have different ports.
        """
        answer = await http_get("/clusters?format=json", unix_socket=self._layout.admin_socket)
        if answer is None or answer.status != 200:
            return set()
        ports = [
            {
                host["address"]["socket_address"]["port_value"]
                for host in cluster.get("host_statuses", [])
                if not host["health_status"].get("failed_active_health_check")
            }
            for cluster in json.loads(answer.body).get("cluster_statuses", [])
            if cluster.get("eds_service_name") == service
        ]
        return ports[0] if ports and all(each == ports[0] for each in ports) else set()

    def _own_bootstrap(self) -> dict[str, Any]:
        with _readable("gateway/envoy.yaml"):
            return local_bootstrap(
                read_yaml(self._source / "envoy.yaml"),
                admin_socket=self._layout.admin_socket,
                endpoints=self._layout.gateway,
                places=self._places,
            )

    def _own_files(self, mode: Access) -> dict[Path, str]:
        """The files that Envoy reloads while it runs, the listeners last."""
        with _readable(f"gateway/access/{mode}"):
            documents = access.configuration(self._source / "access", mode, self._layout.signing_keys)
        files = {self._access / name: relocated(document, self._places) for name, document in documents.items()}
        with _readable("gateway/listeners.yaml"):
            config = read_yaml(self._source / "listeners.yaml")
            files[self.listeners] = local_listeners(config, port=self.port, places=self._places)
        return {path: json_text(document) for path, document in files.items()}

    @property
    def bootstrap(self) -> Path:
        return self._layout.gateway / "envoy.json"

    @property
    def listeners(self) -> Path:
        return self._layout.gateway / "listeners.yaml"

    @property
    def _access(self) -> Path:
        return self._layout.gateway / "access"
