"""The installation in the cluster: its pods, and whether all is well with them."""

import json
import time
from collections.abc import Iterator
from typing import Any

from stack.errors import StackError
from verify.disruptions.kubectl import Kubectl

REPLICATED = ("user-api", "counter-api", "gateway")
DATA = ("postgres", "redis-cache", "redis-counters")
"""One pod each. An installation may have them elsewhere."""

LOOK = 2.0
"""Seconds between two looks at the cluster."""

QUIET = 12.0
"""Seconds for which all must be well. In this time every client of the load gets an answer."""

WELL_WITHIN = 600.0
"""Seconds. Pods may have to be scheduled, and have up to 60 seconds to end."""

Object = dict[str, Any]


class Cluster:
    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl

    def workloads(self) -> set[str]:
        """Those that are there. Raises StackError unless both services and the gateway are."""
        found = {each["metadata"]["name"] for each in self._objects() if each["kind"] != "Pod"}
        for name in REPLICATED:
            if name not in found:
                where = f"namespace {self.kubectl.namespace} of context {self.kubectl.context}"
                raise StackError(f"{where} has no Deployment {name}")
        return found

    def replicas(self, workload: str) -> int:
        (found,) = [each for each in self._objects() if each["kind"] != "Pod" and each["metadata"]["name"] == workload]
        return int(found["spec"]["replicas"])

    def pod(self, workload: str) -> str:
        """The name of one of its pods."""
        pods = [each for each in self._objects() if each["kind"] == "Pod" and _workload(each) == workload]
        if not pods:
            raise StackError(f"{workload} has no pod")
        return str(pods[0]["metadata"]["name"])

    def until_well(self) -> None:
        """Return when all has been well for a while. Raises StackError if it does not get well."""
        began = time.monotonic()
        since: float | None = None
        while since is None or time.monotonic() - since < QUIET:
            try:
                ill = [name for each in self._objects() for name in _ill(each)]
            except StackError as error:  # the cluster's own servers may be disturbed, too
                ill = [str(error)]
            now = time.monotonic()
            since = None if ill else since or now
            if ill and now - began > WELL_WITHIN:
                raise StackError(f"not ready within {WELL_WITHIN:g} s: {', '.join(ill)}")
            time.sleep(LOOK)

    def _objects(self) -> list[Object]:
        """The installation's workloads and pods. Pods that have failed or are complete do not count."""
        listed = json.loads(self.kubectl("get", "deployments,statefulsets,pods", "--output", "json"))
        return [
            each
            for each in listed["items"]
            if _workload(each) in {*REPLICATED, *DATA} and each["status"].get("phase") not in {"Failed", "Succeeded"}
        ]


def _workload(thing: Object) -> str:
    if thing["kind"] == "Pod":
        return str(thing["metadata"].get("labels", {}).get("app.kubernetes.io/name", ""))
    return str(thing["metadata"]["name"])


def _ill(thing: Object) -> Iterator[str]:
    """Its name, unless it is ready and nothing of it is being replaced."""
    metadata, status = thing["metadata"], thing["status"]
    if thing["kind"] == "Pod":
        ready = {"type": "Ready", "status": "True"}.items()
        well = any(ready <= condition.items() for condition in status.get("conditions", []))
    else:
        wanted = thing["spec"]["replicas"]
        counts = {"replicas", "readyReplicas", *(["updatedReplicas"] if thing["kind"] == "Deployment" else [])}
        observed = status.get("observedGeneration", 0) >= metadata["generation"]
        well = observed and all(status.get(count, 0) == wanted for count in counts)
    if not well or "deletionTimestamp" in metadata:
        yield f"{thing['kind']} {metadata['name']}"
