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
from stack.layout import Layout
from stack.probe import http_get
from stack.process import Program
from stack.reload import Discovery, Rejected

IN_IMAGE = "/etc/envoy"
"""Where the container has the files of the repository's folder `gateway`."""

AS_IT_IS = ("docs.html", "browsers.lua", "caller.lua")
"""Files that listeners.yaml refers to and that have no local variant."""

DRAIN_SECONDS = 360
"""How long connections of a configuration that was replaced may go on: longer than event streams last, and than
connections without a request do. The image is started with the same."""


def local_bootstrap(
    config: Mapping[str, Any], *, admin_socket: Path, endpoints: Path, places: Mapping[str, Path]
) -> dict[str, Any]:
    """The bootstrap of the containers with its addresses replaced; policies stay as they are.

    It is administered on a Unix socket, and takes each cluster's endpoints from a file in the directory `endpoints`.
    `places` tells where the image's paths are here.
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
    """Whose replicas a cluster of the containers' bootstrap has; some have the same ones as another."""
    return str(cluster["load_assignment"]["cluster_name"])


def local_listeners(config: Mapping[str, Any], *, port: int, places: Mapping[str, Path]) -> dict[str, Any]:
    """The public listener alone, on 127.0.0.1:port: there is no certificate here, and no container to check."""
    local = relocated(config, places)
    [listener] = [listener for listener in local["resources"] if listener["name"] == "public"]
    listener["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    # With SO_REUSEPORT a second Envoy would share the port without a word.
    listener["enable_reuse_port"] = False
    return {"resources": [listener]}


def relocated(node: Any, places: Mapping[str, Path]) -> Any:
    """A copy without shared parts (YAML aliases) in which every path of `places`, or below one, lies where it says."""
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
    """What of the image is where: everything in a folder of the stack, but for what is taken as it is."""
    return {IN_IMAGE: folder} | {f"{IN_IMAGE}/{name}": source / name for name in AS_IT_IS}


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


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """What stands in the way of reading the repository's files, as a StackError."""
    try:
        yield
    except (OSError, yaml.YAMLError) as error:
        raise StackError(f"{name} cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StackError(f"{name} has not the form that the local stack expects: {error!r}") from error


class Gateway:
    """The files Envoy reads and the questions it answers."""

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
        """Write the configuration; the endpoints must have been published."""
        self._access.mkdir(mode=0o700, exist_ok=True)
        write_json(self.bootstrap, self._own_bootstrap())
        for path, text in self._own_files(self.access).items():
            write_atomically(path, text)

    async def reload(self, mode: Access | None = None) -> None:
        """Write the configuration anew, from the repository's present files, and return when Envoy has taken it.

        Raises StackError with Envoy's reason when it rejects it; what was in force before stays so.
        """
        mode = mode or self.access
        wanted = self._own_files(mode)
        before = {path: path.read_text() for path in wanted if path.exists()}
        try:
            await self._discovery.replace(wanted)
        except Rejected as rejected:
            with suppress(Rejected):  # one file may be back before the other
                await self._discovery.replace(before)
            raise StackError(
                f"Envoy rejected the configuration, and the one before stays in force: {rejected}"
            ) from None
        except StackError:  # nobody knows what it has read, and it must not start again with what it might reject
            for path, text in before.items():
                write_atomically(path, text)
            raise
        self.access = mode
        if self.bootstrap.read_text() != json_text(self._own_bootstrap()):
            raise StackError(
                "gateway/envoy.yaml has changed, which Envoy reads at its start only: `make down`, then `make up`;"
                " everything else is reloaded"
            )

    def program(self) -> Program:
        return Program(
            name="gateway",
            service="gateway",
            argv=[
                *(str(wheels.program("envoy", "_bin/envoy")), "--config-path", str(self.bootstrap)),
                # Hot restart shares memory between Envoys of one base id: stacks would collide.
                "--disable-hot-restart",
                *("--drain-time-s", str(DRAIN_SECONDS), "--drain-strategy", "immediate"),
                "--reject-unknown-dynamic-fields",  # a misspelt policy is none
                *("--log-level", "warning"),
                *("--concurrency", str(min(4, os.cpu_count() or 1))),
            ],
            ready=self.ready,
            url=self.url,
            environment=self.pages,
        )

    def publish(self, service: str, ports: Iterable[int]) -> None:
        """Tell Envoy where the service's replicas are."""
        path = endpoints_file(self._layout.gateway, service)
        write_atomically(path, json.dumps(cluster_load_assignment(service, ports)))

    async def ready(self) -> bool:
        answer = await http_get("/ready", unix_socket=self._layout.admin_socket)
        return answer is not None and answer.status == 200 and await self._discovery.begun()

    async def check(self) -> None:
        """Raise StackError with Envoy's reason if it did not take its configuration when it was started."""
        try:
            await self._discovery.check()
        except Rejected as rejected:
            raise StackError(f"Envoy rejected its configuration: {rejected}") from None

    async def healthy_ports(self, service: str) -> set[int]:
        """The ports of the service to which Envoy now sends requests of every kind.

        As long as its clusters do not agree about that, none.
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
                yaml.safe_load((self._source / "envoy.yaml").read_text()),
                admin_socket=self._layout.admin_socket,
                endpoints=self._layout.gateway,
                places=self._places,
            )

    def _own_files(self, mode: Access) -> dict[Path, str]:
        """What Envoy takes live, the listeners last."""
        with _readable(f"gateway/access/{mode}"):
            documents = access.configuration(self._source / "access", mode, self._layout.signing_keys)
        files = {self._access / name: relocated(document, self._places) for name, document in documents.items()}
        with _readable("gateway/listeners.yaml"):
            config = yaml.safe_load((self._source / "listeners.yaml").read_text())
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
