"""What is done to the installation. Each function returns when it is done, not when all is well again."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stack.errors import StackError
from verify.disruptions.cluster import DATA, LOOK, REPLICATED, Cluster

EVICTED_WITHIN = 60.0
"""Seconds in which the disruption budget must allow an eviction."""

DRAINED_WITHIN = 600
"""Seconds."""


@dataclass(frozen=True)
class Fault:
    workload: str | None
    """What must be in the cluster; None if nothing particular."""
    inject: Callable[[Cluster], None]


def _nothing(_: Cluster) -> None:
    pass


def _rolled_out(workload: str) -> Fault:
    def inject(cluster: Cluster) -> None:
        cluster.kubectl("rollout", "restart", f"deployment/{workload}")

    return Fault(workload, inject)


def _scaled(workload: str) -> Fault:
    """One replica more, and then as many as before."""

    def inject(cluster: Cluster) -> None:
        def scale(replicas: int) -> None:
            cluster.kubectl("scale", f"deployment/{workload}", f"--replicas={replicas}")

        before = cluster.replicas(workload)
        try:
            scale(before + 1)
            cluster.until_well()
        finally:
            scale(before)

    return Fault(workload, inject)


def _evicted(workload: str) -> Fault:
    """As a drained node does it: the disruption budget is respected."""

    def inject(cluster: Cluster) -> None:
        pod, namespace = cluster.pod(workload), cluster.kubectl.namespace
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        until = time.monotonic() + EVICTED_WITHIN
        while True:
            try:
                cluster.kubectl("create", "--raw", path, "--filename", "-", stdin=json.dumps(eviction))
            except StackError:
                if time.monotonic() > until:
                    raise
                time.sleep(LOOK)
            else:
                return

    return Fault(workload, inject)


def _deleted(workload: str, *options: str) -> Fault:
    def inject(cluster: Cluster) -> None:
        cluster.kubectl("delete", f"pod/{cluster.pod(workload)}", "--wait=false", *options)

    return Fault(workload, inject)


def _killed(workload: str) -> Fault:
    """At once, by SIGKILL. Not for data: Kubernetes may start the next pod while this one still writes the volume."""
    return _deleted(workload, "--grace-period=0", "--force")


FAULTS: Mapping[str, Fault] = {
    "none": Fault(None, _nothing),
    **{f"rollout-{name}": _rolled_out(name) for name in REPLICATED},
    **{f"scale-{name}": _scaled(name) for name in REPLICATED},
    **{f"evict-{name}": _evicted(name) for name in REPLICATED},
    **{f"delete-{name}": _deleted(name) for name in REPLICATED},
    **{f"kill-{name}": _killed(name) for name in REPLICATED},
    **{f"delete-{name}": _deleted(name) for name in DATA},
}
"""All but those of nodes, in their order."""


def drained(node: str) -> Fault:
    """All pods of the node are evicted, also those of other namespaces. Then it may be used again."""

    def inject(cluster: Cluster) -> None:
        try:
            cluster.kubectl(
                *("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={DRAINED_WITHIN}s"),
                patience=DRAINED_WITHIN + 30,
            )
        finally:
            cluster.kubectl("uncordon", node)

    return Fault(None, inject)


def of(workloads: set[str], node: str | None) -> Mapping[str, Fault]:
    """Those that are possible. A node is drained only if it is named."""
    possible = {name: fault for name, fault in FAULTS.items() if fault.workload in {None, *workloads}}
    return possible | ({"drain-node": drained(node)} if node else {})
