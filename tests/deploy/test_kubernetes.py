"""Every overlay, with every component, is valid Kubernetes for any cluster, in one restricted namespace."""

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.manifests import (
    BUILT_IN,
    HASHED,
    K8S,
    Manifests,
    Object,
    container_of,
    containers,
    main_container,
    named,
    pod,
    pod_name,
    render,
    selects,
    sources,
    without_hash,
)

pytestmark = pytest.mark.xdist_group("kubernetes")

DIGEST = "sha256:" + 64 * "a"

CUSTOM = {"HTTPRoute", "BackendTLSPolicy", "ServiceMonitor", "PrometheusRule", "ScaledObject"}


def validate(manifest: Object, version: str) -> None:
    """Each object once, because most are the same in all overlays."""
    _validate(json.dumps(manifest, sort_keys=True), version)


@functools.cache
def _validate(manifest: str, version: str) -> None:
    import kubernetes_validate  # noqa: PLC0415 (at the top it would cost every worker of pytest-xdist seconds)

    kubernetes_validate.validate(json.loads(manifest), version, strict=True)


def test_every_object_is_valid(manifests: Manifests) -> None:
    assert manifests
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            validate(manifest, "1.37")


def test_the_oldest_supported_kubernetes_takes_it(alone: Manifests) -> None:
    for manifest in alone:
        validate(manifest, "1.30")


def test_the_root_applies_the_local_overlay(local: Manifests) -> None:
    assert render(K8S) == local


def test_every_file_is_used() -> None:
    """A manifest that no kustomization names would not be applied, and not be checked here."""
    kustomizations = [path.parent for path in K8S.rglob("kustomization.yaml")]
    used = {path / "kustomization.yaml" for path in kustomizations}
    for folder in kustomizations:
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        entries = kustomization.get("resources", []) + kustomization.get("components", [])
        entries += [patch["path"] for patch in kustomization.get("patches", []) if "path" in patch]
        for one in kustomization.get("configMapGenerator", []):
            entries += one.get("files", []) + one.get("envs", [])
        used |= {(folder / entry).resolve() for entry in entries}
    unused = {path for path in K8S.rglob("*") if path.is_file()} - used
    assert {path.name for path in unused} == {"README.md", "secrets.example.yaml", "load-images"}


def test_any_cluster_has_what_it_takes(alone: Manifests) -> None:
    """It needs no custom resources, ingress controller, load balancer, cluster-wide rights or particular storage."""
    assert {manifest["kind"] for manifest in alone} <= BUILT_IN
    for service in alone.of("Service"):
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"
        assert "externalIPs" not in service["spec"]
    for claim in (claim for one in alone.of("StatefulSet") for claim in one["spec"].get("volumeClaimTemplates", [])):
        assert "storageClassName" not in claim["spec"]
        assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_everything_is_in_one_restricted_namespace_which_comes_first(manifests: Manifests) -> None:
    (namespace,) = manifests.of("Namespace")
    assert manifests[0] is namespace
    assert namespace["metadata"]["name"] == "evenkeel"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {manifest["metadata"].get("namespace") for manifest in manifests if manifest is not namespace} == {
        "evenkeel"
    }


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
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": None})
    for container in manifests.containers:
        # Containers set nothing else either: a runAsUser of their own would differ from the pod's.
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
        assert pod(workload)["serviceAccountName"] == pod_name(workload)
    for account in manifests.of("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def _referred_to(workload: Object) -> dict[str, set[tuple[str, str]]]:
    """(name, key or nothing) of each ConfigMap and Secret that a pod needs to start."""
    used: dict[str, set[tuple[str, str]]] = {"ConfigMap": set(), "Secret": set()}
    for volume in pod(workload).get("volumes", []):
        if "configMap" in volume:
            used["ConfigMap"].add((volume["configMap"]["name"], ""))
        if "secret" in volume:
            used["Secret"].add((volume["secret"]["secretName"], ""))
    for container in containers(workload):
        for kind, name in sources(container):
            used[kind].add((name, ""))
        for variable in container.get("env", []):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                used["Secret"].add((reference["name"], reference["key"]))
    return used


def test_everything_that_is_referred_to_exists(manifests: Manifests, expected_secrets: Manifests) -> None:
    secrets = Manifests(manifests.of("Secret") or expected_secrets)
    needs = [_referred_to(workload) for workload in manifests.workloads]
    assert {name for need in needs for name, _ in need["Secret"]} == named(secrets)
    assert {name for need in needs for name, _ in need["ConfigMap"]} == named(manifests.of("ConfigMap")) - {
        "grafana-dashboard"
    }
    for name, key in {reference for need in needs for reference in need["Secret"]}:
        assert key in {"", *secrets.data("Secret", name)}
    assert {pod(workload)["serviceAccountName"] for workload in manifests.workloads} == named(
        manifests.of("ServiceAccount")
    )


def test_volumes_are_mounted_and_mounts_have_volumes(manifests: Manifests) -> None:
    for workload in manifests.workloads:
        claims = named(workload["spec"].get("volumeClaimTemplates", []))
        volumes = {volume["name"] for volume in pod(workload).get("volumes", [])}
        mounted = {mount["name"] for one in containers(workload) for mount in one.get("volumeMounts", [])}
        assert mounted == volumes | claims


def test_a_change_of_configuration_is_a_new_name(manifests: Manifests) -> None:
    """So that a change replaces the pods one after the other, and old pods keep their contents."""
    generated = [one for one in manifests.of("ConfigMap", "Secret") if one["metadata"]["name"] != "grafana-dashboard"]
    assert all(HASHED.fullmatch(manifest["metadata"]["name"]) for manifest in generated)
    assert {without_hash(manifest) for manifest in generated} >= {"user-api", "counter-api", "gateway-access"}


def test_images(manifests: Manifests) -> None:
    for container in manifests.containers:
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert container["image"].rpartition(":")[2] not in {container["image"], "", "latest"}


def test_local_runs_the_images_that_make_builds_and_loads(local: Manifests) -> None:
    own = {"evenkeel/user-api:dev", "evenkeel/counter-api:dev", "evenkeel/gateway:dev"}
    assert {container["image"] for container in local.containers} == own | {"postgres:18", "redis:8"}
    makefile = (K8S.parents[1] / "Makefile").read_text()
    (line,) = [line for line in makefile.splitlines() if "load-images" in line]
    assert set(line.split()[1:]) == own | {"evenkeel/verify:dev"}  # the load of `make k8s-test`


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
    servers = {pod_name(one) for one in manifests.of("Deployment", "StatefulSet")}
    assert named(manifests.of("Service")) == servers | {"user-api-ready", "counter-api-ready"}
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


def test_selectors_match_their_own_pods(manifests: Manifests) -> None:
    labels = [{"app.kubernetes.io/name": pod_name(workload)} for workload in manifests.workloads]
    for workload in manifests.of("Deployment", "StatefulSet"):
        own: dict[str, Any] = {"app.kubernetes.io/name": pod_name(workload)}
        assert [one for one in labels if selects(workload["spec"]["selector"], one)] == [own]


def test_each_replica_migrates_before_it_starts(manifests: Manifests) -> None:
    """With the image and the database that the replica itself has, whatever an overlay calls them."""
    deployment = manifests.one("Deployment", "user-api")
    migrate, replica = container_of(deployment, "migrate"), main_container(deployment)
    assert migrate["args"] == ["migrate"]
    assert "restartPolicy" not in migrate, "it would be a sidecar, and the replica would not wait for it"
    assert migrate["image"] == replica["image"]
    (variable,) = migrate["env"]
    ((_, secret),) = [source for source in sources(replica) if source[0] == "Secret"]
    assert variable["valueFrom"] == {"secretKeyRef": {"name": secret, "key": variable["name"]}}
    assert [one["name"] for one in manifests.containers if "migrate" in one.get("args", [])] == ["migrate"]
    # A Job cannot be changed, and one that deletes itself comes back with each synchronization of a GitOps tool.
    assert not manifests.of("Job", "CronJob")


@pytest.mark.parametrize(
    ("image", "rendered"),
    [
        ({"newTag": "1.0.0"}, "evenkeel/user-api:1.0.0"),
        ({"newTag": "1.0.0_rc1"}, "evenkeel/user-api:1.0.0_rc1"),
        ({"newTag": "V1.0.0-" + "x" * 100}, "evenkeel/user-api:V1.0.0-" + "x" * 100),
        ({"digest": DIGEST}, f"evenkeel/user-api@{DIGEST}"),
        ({"newName": "registry.example.com:5000/team/users", "newTag": "7"}, "registry.example.com:5000/team/users:7"),
        ({"newName": "example.com/user-api/user-api", "digest": DIGEST}, f"example.com/user-api/user-api@{DIGEST}"),
    ],
)
@pytest.mark.parametrize("base", ["overlays/local", "overlays/production"])
def test_any_image_can_be_named(tmp_path: Path, base: str, image: dict[str, str], rendered: str) -> None:
    """By tag or digest, in any registry, under any name, in an overlay on top of ours."""
    kustomization = {
        "resources": [os.path.relpath(K8S / base, tmp_path.resolve())],
        "images": [{"name": "evenkeel/user-api", **image}],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    manifests = render(tmp_path)
    for manifest in manifests:
        validate(manifest, "1.37")
    deployment = manifests.one("Deployment", "user-api")
    assert container_of(deployment, "migrate")["image"] == main_container(deployment)["image"] == rendered
