"""Every overlay is valid Kubernetes, and has the properties that make it run well.

Each test reads the manifests as kubectl renders them and, since kubectl is not everywhere, also as the files say them:
the same objects, but for what overlays change (replicas, tags, hashes in names).
"""

import base64
import shutil
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from pydantic_settings import BaseSettings

import counter_api.settings
import user_api.settings

Object = dict[str, Any]

K8S = Path(__file__).parents[2] / "deploy" / "k8s"
OVERLAYS = ("local", "production")
KUBECTL = shutil.which("kubectl")

SETTINGS: dict[str, type[BaseSettings]] = {
    "user-api": user_api.settings.Settings,
    "counter-api": counter_api.settings.Settings,
}
UNITS = {"": Decimal(1), "m": Decimal("0.001"), "Mi": Decimal(2**20), "Gi": Decimal(2**30)}


def as_files(folder: Path) -> Iterator[Object]:
    """Every object that the kustomization in `folder` gathers or generates; its transformers are not applied."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    for entry in kustomization.get("resources", []) + kustomization.get("components", []):
        path = folder / entry
        yield from as_files(path) if path.is_dir() else yaml.safe_load_all(path.read_text())
    for kind in ("ConfigMap", "Secret"):
        for generator in kustomization.get(f"{kind[0].lower()}{kind[1:]}Generator", []):
            data = dict(literal.split("=", 1) for literal in generator.get("literals", []))
            data |= {name: (folder / name).read_text() for name in generator.get("files", [])}
            yield {
                "apiVersion": "v1",
                "kind": kind,
                "metadata": {"name": generator["name"]},
                "data" if kind == "ConfigMap" else "stringData": data,
            }


def as_rendered(folder: Path) -> Iterator[Object]:
    assert KUBECTL
    rendered = subprocess.run([KUBECTL, "kustomize", folder], check=True, capture_output=True, text=True).stdout
    yield from yaml.safe_load_all(rendered)


READERS = {"files": as_files} | ({"kubectl": as_rendered} if KUBECTL else {})


class Manifests(list[Object]):
    """The objects of one overlay."""

    def of(self, *kinds: str) -> list[Object]:
        return [manifest for manifest in self if manifest["kind"] in kinds]

    def one(self, kind: str, name: str) -> Object:
        (found,) = [manifest for manifest in self.of(kind) if manifest["metadata"]["name"] == name]
        return found

    @property
    def workloads(self) -> list[Object]:
        return self.of("Deployment", "StatefulSet", "Job")

    @property
    def containers(self) -> list[Object]:
        return [container for workload in self.workloads for container in pod(workload)["containers"]]

    def data(self, kind: str, name: str) -> dict[str, str]:
        """Return what a ConfigMap or Secret holds, decoded."""
        manifest = self.one(kind, name)
        if kind == "Secret" and "data" in manifest:
            return {key: base64.b64decode(value).decode() for key, value in manifest["data"].items()}
        found: dict[str, str] = manifest.get("stringData") or manifest["data"]
        return found


def pod(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def pod_name(workload: Object) -> str:
    name: str = workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
    return name


def selects(selector: Object, labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )


def quantity(text: str) -> Decimal:
    number = text.rstrip("".join(UNITS))
    return Decimal(number) * UNITS[text.removeprefix(number)]


def named(objects: list[Object]) -> set[str]:
    return {manifest["metadata"]["name"] for manifest in objects}


@cache
def read(reader: str, overlay: str) -> Manifests:
    return Manifests(READERS[reader](K8S / "overlays" / overlay))


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def manifests(reader: str, overlay: str) -> Manifests:
    return read(reader, overlay)


@pytest.fixture
def local(reader: str) -> Manifests:
    return read(reader, "local")


@pytest.fixture
def production(reader: str) -> Manifests:
    return read(reader, "production")


@pytest.fixture
def secrets(manifests: Manifests) -> Manifests:
    """Give the overlay's Secrets, or those that production documents and expects to find in the cluster."""
    example = yaml.safe_load_all((K8S / "overlays/production/secrets.example.yaml").read_text())
    return Manifests(manifests.of("Secret") or example)


def test_every_object_is_valid(manifests: Manifests) -> None:
    assert manifests
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_the_root_applies_the_local_overlay(reader: str, local: Manifests) -> None:
    assert list(READERS[reader](K8S)) == local


def test_every_file_is_used() -> None:
    """A manifest that no kustomization names would never be applied, nor checked here."""
    kustomizations = [path.parent for path in K8S.rglob("kustomization.yaml")]
    used = {path / "kustomization.yaml" for path in kustomizations}
    for folder in kustomizations:
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        entries = kustomization.get("resources", []) + kustomization.get("components", [])
        entries += [name for one in kustomization.get("configMapGenerator", []) for name in one.get("files", [])]
        used |= {(folder / entry).resolve() for entry in entries}
    unused = {path for path in K8S.rglob("*.*") if path.is_file()} - used
    assert {path.name for path in unused} == {"README.md", "secrets.example.yaml"}


def test_any_cluster_has_what_it_takes(manifests: Manifests) -> None:
    """No custom resources, ingress controller, load balancer, cluster-wide rights or particular storage."""
    assert {manifest["kind"] for manifest in manifests} <= {
        *("Namespace", "ServiceAccount", "ConfigMap", "Secret", "Service", "NetworkPolicy", "PodDisruptionBudget"),
        *("Deployment", "StatefulSet", "Job"),
    }
    for service in manifests.of("Service"):
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"
    for claim in (
        claim for one in manifests.of("StatefulSet") for claim in one["spec"].get("volumeClaimTemplates", [])
    ):
        assert "storageClassName" not in claim["spec"]
        assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_everything_is_in_one_restricted_namespace(manifests: Manifests, reader: str) -> None:
    (namespace,) = manifests.of("Namespace")
    assert namespace["metadata"]["name"] == "evenkeel"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = {manifest["metadata"].get("namespace") for manifest in manifests if manifest is not namespace}
    assert others == ({"evenkeel"} if reader == "kubectl" else {None})


def test_pods_satisfy_the_restricted_standard(manifests: Manifests) -> None:
    for workload in manifests.workloads:
        spec = pod(workload)
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] >= 100, "by number: kubelet cannot tell that a named user is not root"
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in spec.get("volumes", []):
            assert volume.keys() - {"name"} <= {"configMap", "emptyDir", "secret", "persistentVolumeClaim"}
    for container in manifests.containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not any("hostPort" in port for port in container.get("ports", []))


def test_pods_get_nothing_from_kubernetes_that_they_do_not_need(manifests: Manifests) -> None:
    for workload in manifests.workloads:
        assert pod(workload)["automountServiceAccountToken"] is False
        assert pod(workload)["enableServiceLinks"] is False, "USER_API_PORT=tcp://… would replace a setting"
    for account in manifests.of("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_everything_that_is_referred_to_exists(manifests: Manifests, secrets: Manifests) -> None:
    used: dict[str, set[str]] = {"ServiceAccount": set(), "ConfigMap": set(), "Secret": set()}
    for workload in manifests.workloads:
        spec = pod(workload)
        used["ServiceAccount"].add(spec["serviceAccountName"])
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        claims = named(workload["spec"].get("volumeClaimTemplates", []))
        used["ConfigMap"] |= {volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume}
        mounted = set()
        for container in spec["containers"]:
            mounted |= {mount["name"] for mount in container.get("volumeMounts", [])}
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    used["ConfigMap"].add(source["configMapRef"]["name"])
                else:
                    used["Secret"].add(source["secretRef"]["name"])
            for variable in (variable for variable in container.get("env", []) if "valueFrom" in variable):
                reference = variable["valueFrom"]["secretKeyRef"]
                used["Secret"].add(reference["name"])
                assert reference["key"] in secrets.data("Secret", reference["name"])
        assert mounted == volumes.keys() | claims
    assert used["ServiceAccount"] == named(manifests.of("ServiceAccount"))
    assert used["ConfigMap"] == named(manifests.of("ConfigMap"))
    assert used["Secret"] == named(secrets)


def test_images(manifests: Manifests) -> None:
    for container in manifests.containers:
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert container["image"].rpartition(":")[2] not in {container["image"], "", "latest"}


def test_local_runs_the_images_that_make_builds(local: Manifests) -> None:
    assert {container["image"] for container in local.containers} == {
        *("evenkeel/user-api:dev", "evenkeel/counter-api:dev", "evenkeel/gateway:dev"),
        *("postgres:18", "redis:8"),
    }


def test_production_runs_a_release() -> None:
    kustomization = yaml.safe_load((K8S / "overlays/production/kustomization.yaml").read_text())
    tags = {image["name"]: image["newTag"] for image in kustomization["images"]}
    assert tags.keys() == {"evenkeel/user-api", "evenkeel/counter-api", "evenkeel/gateway"}
    assert len(set(tags.values()) - {"dev", "latest"}) == 1


def test_production_has_no_secrets_and_no_data_servers(local: Manifests, production: Manifests) -> None:
    assert named(local.of("StatefulSet")) == {"postgres", "redis-cache", "redis-counters"}
    assert not production.of("StatefulSet", "Secret")
    assert {container["image"].partition(":")[0] for container in production.containers} == {
        *("evenkeel/user-api", "evenkeel/counter-api", "evenkeel/gateway"),
    }


def test_services_reach_the_pods_that_they_name(manifests: Manifests) -> None:
    assert named(manifests.of("Service")) == {pod_name(one) for one in manifests.of("Deployment", "StatefulSet")}
    for service in manifests.of("Service"):
        (workload,) = [
            workload
            for workload in manifests.workloads
            if selects({"matchLabels": service["spec"]["selector"]}, {"app.kubernetes.io/name": pod_name(workload)})
        ]
        ports = {port["name"]: port["containerPort"] for port in pod(workload)["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports
            if service["spec"].get("clusterIP") == "None":
                assert port["port"] == ports[port["targetPort"]], "a headless Service translates no ports"


def test_the_gateway_sees_every_replica(manifests: Manifests) -> None:
    for name in SETTINGS:
        service = manifests.one("Service", name)["spec"]
        assert service["clusterIP"] == "None"
        assert not service.get("publishNotReadyAddresses", False)
        assert [port["port"] for port in service["ports"]] == [8000]
    assert [port["port"] for port in manifests.one("Service", "gateway")["spec"]["ports"]] == [80]


def test_selectors_match_their_own_pods(manifests: Manifests) -> None:
    labels = [{"app.kubernetes.io/name": pod_name(workload)} for workload in manifests.workloads]
    for workload in manifests.of("Deployment", "StatefulSet"):
        selector = workload["spec"]["selector"]
        assert [one for one in labels if selects(selector, one)] == [{"app.kubernetes.io/name": pod_name(workload)}]
        for constraint in pod(workload).get("topologySpreadConstraints", []):
            assert constraint["labelSelector"] == selector


def test_probes(manifests: Manifests) -> None:
    for workload in manifests.of("Deployment", "StatefulSet"):
        (container,) = pod(workload)["containers"]
        ports = {port["name"] for port in container["ports"]}
        assert container["readinessProbe"]
        for probe in (container[key] for key in container if key.endswith("Probe")):
            (how,) = probe.keys() & {"httpGet", "tcpSocket", "exec"}
            assert how == "exec" or probe[how]["port"] in ports
        if pod_name(workload) in SETTINGS:
            assert container["startupProbe"]["httpGet"]["path"] == "/livez"
            assert container["livenessProbe"]["httpGet"]["path"] == "/livez", "a database's outage must restart nobody"
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        elif pod_name(workload) == "gateway":
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert container[kind]["httpGet"] == {"path": "/ready", "port": "health"}
        else:
            assert "tcpSocket" in container["livenessProbe"], "a server that recovers must not be killed for it"


def test_rollouts_and_node_drains_keep_replicas_serving(manifests: Manifests) -> None:
    assert named(manifests.of("Deployment")) == named(manifests.of("PodDisruptionBudget")) == {*SETTINGS, "gateway"}
    for deployment in manifests.of("Deployment"):
        spec = deployment["spec"]
        assert spec["replicas"] >= 2
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        (spread,) = pod(deployment)["topologySpreadConstraints"]
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
        budget = manifests.one("PodDisruptionBudget", deployment["metadata"]["name"])["spec"]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"] == spec["selector"]


def test_pods_leave_without_dropping_requests(manifests: Manifests) -> None:
    for name in SETTINGS:
        spec = pod(manifests.one("Deployment", name))
        pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pause >= 10, "the gateway asks DNS anew every second, but resolvers may cache for some"
        assert spec["terminationGracePeriodSeconds"] >= pause + 10 + 5, "requests in flight have 10 s after SIGTERM"
    spec = pod(manifests.one("Deployment", "gateway"))
    script = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert "POST /healthcheck/fail" in script
    assert spec["terminationGracePeriodSeconds"] > int(script.split()[-1])


def test_every_container_has_requests_and_a_memory_limit(manifests: Manifests) -> None:
    for container in manifests.containers:
        resources = container["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert resources["limits"].keys() == {"memory"}, "throttling shows as latency long before the node is busy"
        assert quantity(resources["requests"]["memory"]) <= quantity(resources["limits"]["memory"])


def test_local_fits_a_small_node(local: Manifests) -> None:
    """1.5 CPUs and 3 GiB, a rollout of every Deployment at once included."""
    asked = {"cpu": Decimal(0), "memory": Decimal(0)}
    for workload in local.workloads:
        surge = workload["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", 0)
        pods = workload["spec"].get("replicas", 1) + surge
        for container in pod(workload)["containers"]:
            for resource in asked:
                asked[resource] += pods * quantity(container["resources"]["requests"][resource])
    assert asked["cpu"] <= Decimal("1.5")
    assert asked["memory"] <= 3 * UNITS["Gi"]


def test_migration_can_be_applied_again(manifests: Manifests) -> None:
    (job,) = manifests.of("Job")
    (container,) = pod(job)["containers"]
    tag = container["image"].rpartition(":")[2]
    assert job["metadata"]["name"] == f"user-api-migrate-{tag}", "a template cannot change: a new tag is a new Job"
    assert job["spec"]["ttlSecondsAfterFinished"] <= 600
    assert container["args"] == ["migrate"]
    # One that fails is tried again for longer than a slow cluster needs to pull PostgreSQL's image.
    assert pod(job)["restartPolicy"] == "OnFailure"
    assert job["spec"]["backoffLimit"] >= 6


def edges(manifests: Manifests, direction: str, peers: str) -> set[tuple[str, str, int]]:
    """(selected pod, peer or `anywhere`, port), as far as policies for particular pods say it."""
    names = {pod_name(workload) for workload in manifests.workloads}

    def selected(selector: Object) -> set[str]:
        return {name for name in names if selects(selector, {"app.kubernetes.io/name": name})}

    return {
        (name, other, port["port"])
        for policy in (manifest["spec"] for manifest in manifests.of("NetworkPolicy"))
        if policy["podSelector"]
        for name in selected(policy["podSelector"])
        for rule in policy.get(direction, [])
        for peer in rule.get(peers, [{}])
        for other in (selected(peer["podSelector"]) if "podSelector" in peer else {"anywhere"})
        for port in rule["ports"]
    }


BETWEEN_SERVICES = {("gateway", "user-api", 8000), ("gateway", "counter-api", 8000)}


def test_network_policies_deny_all_but_dns(manifests: Manifests) -> None:
    policies = [manifest["spec"] for manifest in manifests.of("NetworkPolicy")]
    everyone = [policy for policy in policies if policy["podSelector"] == {}]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in everyone
    (dns,) = [policy["egress"] for policy in everyone if "egress" in policy]
    assert dns == [{"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}]
    assert not any("ingress" in policy for policy in everyone)


def test_network_policies_of_local_allow_these_edges_and_no_other(local: Manifests) -> None:
    within = BETWEEN_SERVICES | {
        ("user-api", "postgres", 5432),
        ("user-api-migrate", "postgres", 5432),
        ("user-api", "redis-cache", 6379),
        ("counter-api", "redis-counters", 6379),
    }
    assert edges(local, "egress", "to") == within
    into = {(target, source, port) for source, target, port in within}
    assert edges(local, "ingress", "from") == into | {("gateway", "anywhere", 8080)}


def test_network_policies_of_production_allow_these_edges_and_no_other(production: Manifests) -> None:
    assert edges(production, "egress", "to") == BETWEEN_SERVICES | {
        ("user-api", "anywhere", 5432),
        ("user-api-migrate", "anywhere", 5432),
        ("user-api", "anywhere", 6379),
        ("counter-api", "anywhere", 6379),
    }
    into = {(target, source, port) for source, target, port in BETWEEN_SERVICES}
    assert edges(production, "ingress", "from") == into | {("gateway", "anywhere", 8080)}


def arguments(manifests: Manifests, name: str) -> dict[str, str]:
    """Return a Redis server's settings."""
    (container,) = pod(manifests.one("StatefulSet", name))["containers"]
    assert container["command"] == ["redis-server"]
    words = container["args"]
    return {key.removeprefix("--"): value for key, value in zip(words[::2], words[1::2], strict=True)}


def test_data_servers_keep_what_they_must(local: Manifests) -> None:
    cache, counters = arguments(local, "redis-cache"), arguments(local, "redis-counters")
    assert (cache["appendonly"], cache["maxmemory-policy"]) == ("no", "volatile-lru")
    assert (counters["appendonly"], counters["appendfsync"]) == ("yes", "always")
    assert counters["maxmemory-policy"] == "noeviction"
    assert cache["requirepass"] == counters["requirepass"] == "$(REDISCLI_AUTH)"
    claims = {one["metadata"]["name"]: one["spec"].get("volumeClaimTemplates", []) for one in local.of("StatefulSet")}
    assert {name for name, claim in claims.items() if claim} == {"postgres", "redis-counters"}


def test_data_servers_can_write_their_volumes(local: Manifests) -> None:
    for name in ("postgres", "redis-counters"):
        security = pod(local.one("StatefulSet", name))["securityContext"]
        assert security["fsGroup"] == security["runAsUser"] == 999, "the user of the official images"
        assert security["fsGroupChangePolicy"] == "OnRootMismatch"
    (postgres,) = pod(local.one("StatefulSet", "postgres"))["containers"]
    mounts = {mount["name"]: Path(mount["mountPath"]) for mount in postgres["volumeMounts"]}
    (pgdata,) = [Path(variable["value"]) for variable in postgres["env"] if variable["name"] == "PGDATA"]
    assert mounts["data"] in pgdata.parents, "a volume's own root is not PostgreSQL's to make private"
    assert {Path("/var/run/postgresql"), Path("/tmp")} <= set(mounts.values())  # noqa: S108 (in the container)


def test_urls_lead_to_the_servers_and_know_their_passwords(local: Manifests) -> None:
    secret = {
        pod_name(workload): local.data("Secret", source["secretRef"]["name"])
        for workload in local.of("Deployment", "StatefulSet")
        for source in pod(workload)["containers"][0].get("envFrom", [])
        if "secretRef" in source
    }
    for name in ("redis-cache", "redis-counters"):
        (variable,) = pod(local.one("StatefulSet", name))["containers"][0]["env"]
        secret[name] = local.data("Secret", variable["valueFrom"]["secretKeyRef"]["name"])
    for text, server, password in (
        (secret["user-api"]["USER_API_DATABASE_URL"], "postgres", secret["postgres"]["USER_API_DATABASE_PASSWORD"]),
        (secret["user-api"]["USER_API_CACHE_URL"], "redis-cache", secret["redis-cache"]["password"]),
        (secret["counter-api"]["COUNTER_API_REDIS_URL"], "redis-counters", secret["redis-counters"]["password"]),
    ):
        url = urlsplit(text)
        assert (url.hostname, url.password) == (server, password)
        assert [url.port] == [port["port"] for port in local.one("Service", server)["spec"]["ports"]]


def test_services_understand_their_settings(local: Manifests, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and values: a replica that gets these starts, and every variable is one that it reads."""
    for name, settings in SETTINGS.items():
        (container,) = pod(local.one("Deployment", name))["containers"]
        environment: dict[str, str] = {}
        for source in container["envFrom"]:
            ((kind, reference),) = source.items()
            environment |= local.data({"configMapRef": "ConfigMap", "secretRef": "Secret"}[kind], reference["name"])
        for variable, value in environment.items():
            assert variable.removeprefix(settings.model_config["env_prefix"]).lower() in settings.model_fields
            monkeypatch.setenv(variable, value)
        settings()
