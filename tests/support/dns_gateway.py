"""The real gateway as containers and Kubernetes run it: it finds replicas by DNS."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.support.name_server import NameServer, name_server
from tests.support.pods import Services

from stack.gateway import Gateway, places_of, relocated
from stack.http_probe import http_get
from stack.layout import Layout, free_port, repository_root
from stack.process import Process
from stack.state import State

SERVICES = ("user-api", "counter-api")

PATIENCE = 60
"""Seconds within which Envoy must have noticed a change."""

EVERY_SECOND = re.compile(r'"(1|0\.500)s"')
"""Looking up names and checking health. Here it is done more often, which saves time and changes no order."""


@dataclass
class DnsGateway:
    url: str
    services: Services
    names: NameServer
    layout: Layout

    async def looked_up(self) -> None:
        """Return when Envoy uses the present answers: the second lookup begins after the first one was used."""
        names = [name for service in SERVICES for name in (service, f"{service}-ready")]
        goal = {name: self.names.asked[name] + 2 for name in names}
        async with asyncio.timeout(PATIENCE):
            while any(self.names.asked[name] < count for name, count in goal.items()):  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)

    async def healthy(self, cluster: str) -> set[str]:
        """The addresses that Envoy uses for this cluster while any of them is ready."""
        return {address for address, failed in (await self._hosts(cluster)).items() if not failed}

    async def addresses(self, cluster: str) -> set[str]:
        """The addresses that Envoy has found for this cluster."""
        return set(await self._hosts(cluster))

    async def requests(self, cluster: str, address: str) -> int:
        """How many requests Envoy has sent to this address."""
        [host] = [host for host in await self._statuses(cluster) if _address(host) == address]
        return sum(int(stat.get("value", 0)) for stat in host["stats"] if stat["name"] == "rq_total")

    async def _hosts(self, cluster: str) -> dict[str, bool]:
        """Whether the health check of each address fails."""
        return {
            _address(host): "failed_active_health_check" in host["health_status"]
            for host in await self._statuses(cluster)
        }

    async def _statuses(self, cluster: str) -> list[dict[str, Any]]:
        answer = await http_get("/clusters?format=json", unix_socket=self.layout.admin_socket)
        assert answer is not None
        [status] = [one for one in json.loads(answer.body)["cluster_statuses"] if one["name"] == cluster]
        hosts: list[dict[str, Any]] = status.get("host_statuses", [])
        return hosts


def _address(host: dict[str, Any]) -> str:
    return str(host["address"]["socket_address"]["address"])


def bootstrap(layout: Layout, *, names: int, port: int) -> dict[str, Any]:
    """The containers' own, except for addresses: `names` is the port of the name server, `port` that of replicas."""
    config: dict[str, Any] = relocated(
        yaml.safe_load((layout.repository / "gateway" / "envoy.yaml").read_text()),
        places_of(layout.gateway, layout.repository / "gateway"),
    )
    config["admin"]["address"] = {"pipe": {"path": str(layout.admin_socket), "mode": 0o600}}
    for cluster in config["static_resources"]["clusters"]:
        cluster["cluster_type"]["typed_config"]["typed_dns_resolver_config"] = {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [{"socket_address": {"address": "127.0.0.1", "port_value": names}}],
                "dns_resolver_options": {"no_default_search_domain": True},
            },
        }
        for locality in cluster["load_assignment"]["endpoints"]:
            for endpoint in locality["lb_endpoints"]:
                endpoint["endpoint"]["address"]["socket_address"]["port_value"] = port
    return config


@asynccontextmanager
async def dns_gateway(directory: Path, services: Services) -> AsyncIterator[DnsGateway]:
    layout = Layout(directory / "stack", repository_root())
    layout.make()
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, layout.sockets)
        names = await stack.enter_async_context(name_server(services.resolve))
        gateway = Gateway(layout, free_port())
        gateway.prepare()
        config = json.dumps(bootstrap(layout, names=names.port, port=services.port))
        gateway.bootstrap.write_text(EVERY_SECOND.sub('"0.050s"', config))
        process = Process(gateway.program(), log_file=layout.log("gateway"), state=State(layout.state))
        await process.start()
        stack.push_async_callback(process.stop)
        await gateway.check()
        yield DnsGateway(gateway.url, services, names, layout)
