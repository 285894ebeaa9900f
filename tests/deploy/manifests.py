"""The manifests as kubectl renders them: each overlay, alone and with components."""

import base64
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import BaseSettings

import counter_api.settings
import user_api.settings

Object = dict[str, Any]

K8S = Path(__file__).parents[2] / "deploy" / "k8s"
KUBECTL = Path(sys.executable).with_name("kubectl")
OVERLAYS = ("local", "production")
COMPONENTS = ("gateway-api", "monitoring", "keda", "ipv6", "tracing")

BUILT_IN = {
    *("Namespace", "ServiceAccount", "ConfigMap", "Secret", "Service", "NetworkPolicy", "PodDisruptionBudget"),
    *("Deployment", "StatefulSet", "HorizontalPodAutoscaler"),
}

SETTINGS: dict[str, type[BaseSettings]] = {
    "user-api": user_api.settings.Settings,
    "counter-api": counter_api.settings.Settings,
}
UNITS = {"": Decimal(1), "m": Decimal("0.001"), "Mi": Decimal(2**20), "Gi": Decimal(2**30)}
HASHED = re.compile(r"(?P<name>.+)-[a-z0-9]{10}")


class Manifests(list[Object]):
    """The objects of one rendering, in the order in which kubectl applies them."""

    def of(self, *kinds: str) -> list[Object]:
        return [manifest for manifest in self if manifest["kind"] in kinds]

    def one(self, kind: str, name: str) -> Object:
        """The object with that name, or with that name and any hash behind it."""
        (found,) = [
            manifest for manifest in self.of(kind) if name in {manifest["metadata"]["name"], without_hash(manifest)}
        ]
        return found

    @property
    def workloads(self) -> list[Object]:
        return self.of("Deployment", "StatefulSet")

    @property
    def containers(self) -> list[Object]:
        return [container for workload in self.workloads for container in containers(workload)]

    def data(self, kind: str, name: str) -> dict[str, str]:
        """The decoded contents of a ConfigMap or Secret."""
        manifest = self.one(kind, name)
        if kind == "Secret" and "data" in manifest:
            return {key: base64.b64decode(value).decode() for key, value in manifest["data"].items()}
        found: dict[str, str] = manifest.get("stringData") or manifest["data"]
        return found


YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C is ten times as fast. Not every build of PyYAML has it."""


def render(folder: Path) -> Manifests:
    rendered = subprocess.run([KUBECTL, "kustomize", folder], check=True, capture_output=True, text=True).stdout
    return Manifests(yaml.load_all(rendered, Loader=YAML_LOADER))


@cache
def overlay(name: str, *components: str) -> Manifests:
    """The overlay, alone or with components on top of it."""
    if not components:
        return render(K8S / "overlays" / name)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(os.path.relpath(K8S, Path(folder).resolve()))
        kustomization = {
            "resources": [str(here / "overlays" / name)],
            "components": [str(here / "components" / component) for component in components],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return render(Path(folder))


def pod(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def containers(workload: Object) -> list[Object]:
    """All containers of a pod, sidecars and those that run before it starts included."""
    return [*pod(workload).get("initContainers", []), *pod(workload)["containers"]]


def lasting(workload: Object) -> list[Object]:
    """The containers that run as long as the pod."""
    started_first = pod(workload).get("initContainers", [])
    return [*(one for one in started_first if one.get("restartPolicy") == "Always"), *pod(workload)["containers"]]


def container_of(workload: Object, name: str) -> Object:
    (found,) = [one for one in containers(workload) if one["name"] == name]
    return found


def main_container(workload: Object) -> Object:
    """The only container of a pod that is not a sidecar."""
    (container,) = pod(workload)["containers"]
    found: Object = container
    return found


def sources(container: Object) -> Iterator[tuple[str, str]]:
    """Kind and name of each object that the container's environment comes from."""
    for source in container.get("envFrom", []):
        ((kind, reference),) = source.items()
        yield {"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind], reference["name"]


def pod_name(workload: Object) -> str:
    name: str = workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
    return name


def named(objects: Iterable[Object]) -> set[str]:
    return {manifest["metadata"]["name"] for manifest in objects}


def without_hash(manifest: Object) -> str:
    match = HASHED.fullmatch(manifest["metadata"]["name"])
    return match["name"] if match else manifest["metadata"]["name"]


def selects(selector: Object, labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )


def quantity(text: str | float) -> Decimal:
    number = str(text).rstrip("".join(UNITS))
    return Decimal(number) * UNITS[str(text).removeprefix(number)]


def arguments(words: Sequence[str]) -> dict[str, str]:
    """The settings of a Redis server on its command line."""
    return {key.removeprefix("--"): value for key, value in zip(words[::2], words[1::2], strict=True)}
