"""The data servers of the local overlay keep what they must keep, and the services find them."""

import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio.connection import parse_url
from tests.deploy.manifests import (
    SETTINGS,
    Manifests,
    Object,
    arguments,
    container_of,
    containers,
    lasting,
    main_container,
    named,
    pod,
    sources,
)

pytestmark = pytest.mark.xdist_group("kubernetes")

SOCKET = Path("/run/cache-sidecar/redis.sock")


def _server(local: Manifests, name: str) -> Object:
    (container,) = containers(local.one("StatefulSet", name))
    return container


def _sidecar(local: Manifests) -> Object:
    return container_of(local.one("Deployment", "user-api"), "cache-sidecar")


def _secret(local: Manifests, container: Object, variable: str) -> str:
    """The value of a container's variable that comes from a Secret."""
    (found,) = [one for one in container["env"] if one["name"] == variable]
    reference = found["valueFrom"]["secretKeyRef"]
    return local.data("Secret", reference["name"])[reference["key"]]


def _environment(manifests: Manifests, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind, source in sources(main_container(manifests.one("Deployment", name))):
        if source in named(manifests.of(kind)):
            found |= manifests.data(kind, source)
    return found


def test_counters_survive_and_the_cache_makes_room(local: Manifests) -> None:
    cache, counters = (arguments(_server(local, name)["args"]) for name in ("redis-cache", "redis-counters"))
    assert (cache["save"], cache["appendonly"], cache["maxmemory-policy"]) == ("", "no", "volatile-lru")
    assert (counters["appendonly"], counters["appendfsync"]) == ("yes", "always")
    assert counters["maxmemory-policy"] == "noeviction"
    claims = {one["metadata"]["name"]: one["spec"].get("volumeClaimTemplates", []) for one in local.of("StatefulSet")}
    assert {name for name, claim in claims.items() if claim} == {"postgres", "redis-counters"}


def test_there_is_one_of_each_data_server(local: Manifests) -> None:
    """Never two pods at a time, because they would differ. So the cache is a StatefulSet, too."""
    assert {one["metadata"]["name"]: one["spec"]["replicas"] for one in local.of("StatefulSet")} == {
        "postgres": 1,
        "redis-cache": 1,
        "redis-counters": 1,
    }


def test_redis_starts_as_it_is_told(local: Manifests) -> None:
    """The containers do not use the image's entry point, which loads modules. No manifest contains the password."""
    for container in (_server(local, "redis-cache"), _server(local, "redis-counters"), _sidecar(local)):
        assert container["command"] == ["redis-server"]
    assert arguments(_server(local, "redis-cache")["args"])["requirepass"] == "$(REDISCLI_AUTH)"
    assert arguments(_server(local, "redis-counters")["args"])["requirepass"] == "$(REDISCLI_AUTH)"


def test_data_servers_can_write_their_volumes(local: Manifests) -> None:
    """Also if a volume is a directory of the node that everybody may read, and whose group does not change."""
    for name in ("postgres", "redis-counters"):
        security = pod(local.one("StatefulSet", name))["securityContext"]
        assert security["fsGroup"] == security["runAsUser"] == 999, "the user of the official images"
        assert security["fsGroupChangePolicy"] == "OnRootMismatch"
    postgres = _server(local, "postgres")
    mounts = {mount["name"]: Path(mount["mountPath"]) for mount in postgres["volumeMounts"]}
    (pgdata,) = [Path(variable["value"]) for variable in postgres["env"] if variable["name"] == "PGDATA"]
    assert mounts["data"] in pgdata.parents, "a volume's own root is not PostgreSQL's to make private"
    assert {Path("/var/run/postgresql"), Path("/tmp")} <= set(mounts.values())  # noqa: S108 (in the container)


def test_a_sidecar_follows_the_primary_and_takes_no_writes(local: Manifests) -> None:
    settings = arguments(_sidecar(local)["args"])
    (port,) = local.one("Service", "redis-cache")["spec"]["ports"]
    assert settings["replicaof"] == f"redis-cache {port['port']}"
    assert settings["masterauth"] == "$(CACHE_PASSWORD)"
    primary = _secret(local, _server(local, "redis-cache"), "REDISCLI_AUTH")
    assert _secret(local, _sidecar(local), "CACHE_PASSWORD") == primary
    assert settings["replica-read-only"] == settings["replica-serve-stale-data"] == "yes"
    assert settings["replica-priority"] == "0", "else Sentinel may promote it"
    assert "maxmemory" not in settings, "only the primary evicts"


def test_a_sidecar_writes_nothing_to_a_disk(local: Manifests) -> None:
    settings = arguments(_sidecar(local)["args"])
    assert (settings["save"], settings["appendonly"], settings["repl-diskless-load"]) == ("", "no", "swapdb")
    assert arguments(_server(local, "redis-cache")["args"])["repl-diskless-sync-delay"] == "0", "5 s without the data"
    (volume,) = [one for one in pod(local.one("Deployment", "user-api"))["volumes"] if one["name"] == "cache-sidecar"]
    assert volume["emptyDir"]["medium"] == "Memory"


def test_a_sidecar_listens_for_its_own_pod_only(local: Manifests) -> None:
    settings = arguments(_sidecar(local)["args"])
    assert settings["port"] == "0"
    assert Path(settings["unixsocket"]) == SOCKET
    # Both containers run as the pod's user, because neither sets another one. So the socket needs no other permissions.
    assert settings["unixsocketperm"] == f"{stat.S_IRWXU:o}"
    user_api = main_container(local.one("Deployment", "user-api"))
    mounts = [
        {mount["mountPath"]: mount for mount in container["volumeMounts"]}[str(SOCKET.parent)]
        for container in (_sidecar(local), user_api)
    ]
    assert [mount["name"] for mount in mounts] == ["cache-sidecar"] * 2
    assert [mount.get("readOnly", False) for mount in mounts] == [False, True]
    assert parse_url(_environment(local, "user-api")["USER_API_CACHE_READ_URL"])["path"] == str(SOCKET)


def test_production_replicates_no_managed_cache(production: Manifests) -> None:
    assert all(lasting(workload) == pod(workload)["containers"] for workload in production.workloads)
    assert "USER_API_CACHE_READ_URL" not in _environment(production, "user-api")


def test_urls_lead_to_the_servers_and_know_their_passwords(local: Manifests) -> None:
    user_api, counter_api = (_environment(local, name) for name in ("user-api", "counter-api"))
    postgres = local.data("Secret", _server(local, "postgres")["envFrom"][0]["secretRef"]["name"])
    redis = {name: _secret(local, _server(local, name), "REDISCLI_AUTH") for name in ("redis-cache", "redis-counters")}
    for text, server, password in (
        (user_api["USER_API_DATABASE_URL"], "postgres", postgres["USER_API_DATABASE_PASSWORD"]),
        (user_api["USER_API_CACHE_URL"], "redis-cache", redis["redis-cache"]),
        (counter_api["COUNTER_API_REDIS_URL"], "redis-counters", redis["redis-counters"]),
    ):
        url = urlsplit(text)
        assert (url.hostname, url.password) == (server, password)
        assert [url.port] == [port["port"] for port in local.one("Service", server)["spec"]["ports"]]


@pytest.mark.parametrize("name", SETTINGS)
def test_services_understand_their_settings(
    name: str, alone: Manifests, expected_secrets: Manifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica starts with these names and values, and each variable is one that it reads."""
    settings = SETTINGS[name]
    environment = _environment(alone, name)
    if not alone.of("Secret"):
        example = expected_secrets.data("Secret", name)
        environment |= {key: value.replace("KEY", "a" * 43 + "=") for key, value in example.items()}
    for variable, value in environment.items():
        assert variable.removeprefix(settings.model_config["env_prefix"]).lower() in settings.model_fields
        monkeypatch.setenv(variable, value)
    settings()


def test_secrets_of_production_are_those_of_local_without_the_data_servers(
    local: Manifests, expected_secrets: Manifests
) -> None:
    for name in SETTINGS:
        assert expected_secrets.data("Secret", name).keys() == local.data("Secret", name).keys()
    assert named(expected_secrets) == {*SETTINGS, "gateway-tls"}
    tls: dict[str, Any] = expected_secrets.one("Secret", "gateway-tls")
    assert tls["type"] == "kubernetes.io/tls"
    assert tls["stringData"].keys() == {"tls.crt", "tls.key"}
