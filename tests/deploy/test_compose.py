"""The promises of docker-compose.yml, read from the file. Nothing here needs Docker."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

import counter_api.settings
import user_api.settings
from stack.access import CHOICES
from stack.browsers import VARIABLES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?}")

REPLICATED: dict[str, type[BaseSettings]] = {
    "user-api": user_api.settings.Settings,
    "counter-api": counter_api.settings.Settings,
}
OF_TRACES = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"}
"""Variables that test_observability.py is about."""
LASTING = sorted(SERVICES.keys() - {"migrate"})


def without_env_file(value: str) -> str:
    """The value that Compose uses if the variable is not set."""
    return VARIABLE.sub(lambda match: match["default"] or "", value)


def settings_of(service: dict[str, Any]) -> dict[str, str]:
    """The variables of the service itself."""
    return {name: value for name, value in service.get("environment", {}).items() if name not in OF_TRACES}


def settings_of_redis(name: str) -> dict[str, str]:
    words = SERVICES[name]["command"]
    return {key.removeprefix("--"): value for key, value in zip(words[::2], words[1::2], strict=True)}


def test_it_starts_without_an_env_file() -> None:
    variables = list(VARIABLE.finditer(TEXT))
    assert {match["name"] for match in variables} == {
        *("PORT", "POSTGRES_PASSWORD", "USER_API_DATABASE_PASSWORD", "CACHE_PASSWORD", "COUNTERS_PASSWORD"),
        *("USER_API_CACHE_KEYS", "COUNTER_API_UNIQUES_KEY", "GATEWAY_ACCESS"),
        *VARIABLES,
        *(OF_TRACES - {"OTEL_EXPORTER_OTLP_ENDPOINT"}),  # its default depends on another variable
    }
    without = {match["name"] for match in variables if not match["default"]} - OF_TRACES
    assert without == VARIABLES.keys(), "an empty password is no password"
    assert "env_file" not in TEXT


def test_every_secret_can_be_set_from_outside() -> None:
    for name, service in SERVICES.items():
        for variable, value in settings_of(service).items() - {("GATEWAY_SERVICE", "gateway")}:
            assert VARIABLE.search(value), f"{name}: {variable} is fixed"


def test_only_the_gateway_is_published_and_only_on_loopback() -> None:
    assert {name: service["ports"] for name, service in SERVICES.items() if "ports" in service} == {
        "gateway": ["127.0.0.1:${PORT:-8080}:8080"]
    }
    assert not any("network_mode" in service for service in SERVICES.values())


def test_the_gateway_reads_the_repositorys_files_and_cannot_write_them() -> None:
    volumes = SERVICES["gateway"]["volumes"]
    assert [(volume["source"], volume["target"], volume["read_only"]) for volume in volumes] == [
        ("./gateway", "/etc/envoy", True),
        ("./gateway/access/${GATEWAY_ACCESS:-open}", "/etc/envoy/access", True),
    ]
    # For a misspelt value Docker would make a folder, and the gateway would start without any access control.
    assert volumes[1]["bind"] == {"create_host_path": False}


def test_the_gateway_gets_the_settings_about_pages_and_names() -> None:
    environment = settings_of(SERVICES["gateway"])
    assert environment == {"GATEWAY_SERVICE": "gateway"} | {name: f"${{{name}:-}}" for name in VARIABLES}


@pytest.mark.parametrize("access", CHOICES)
def test_either_kind_of_access_control_is_there(access: str) -> None:
    folder = ROOT / "gateway" / "access" / access
    assert {"filter.yaml", "clusters.yaml"} <= {path.name for path in folder.iterdir()}


def test_the_keys_of_make_token_are_where_the_gateway_looks_for_them() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "stack token --jwks gateway/access/tokens/jwks.json" in makefile
    assert "filename: /etc/envoy/access/jwks.json" in (ROOT / "gateway/access/tokens/filter.yaml").read_text()
    assert "jwks.json" in (ROOT / "gateway/access/tokens/.gitignore").read_text().splitlines()


def test_services_can_be_scaled() -> None:
    assert all("container_name" not in service for service in SERVICES.values())
    assert {
        name: service["deploy"]["replicas"] for name, service in SERVICES.items() if "replicas" in service["deploy"]
    } == {
        "user-api": 2,
        "counter-api": 2,
    }


def test_each_service_reaches_its_own_data_only() -> None:
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert networks == {
        "gateway": {"public", "services"},
        "user-api": {"services", "user-data"},
        "counter-api": {"services", "counter-data"},
        "migrate": {"user-data"},
        "postgres": {"user-data"},
        "redis-cache": {"user-data"},
        "redis-counters": {"counter-data"},
    }
    inside = {name for name, network in COMPOSE["networks"].items() if (network or {}).get("internal")}
    assert COMPOSE["networks"].keys() - inside == {"public"}


@pytest.mark.parametrize("name", SERVICES)
def test_containers_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & service.keys()
    assert "docker.sock" not in str(service.get("volumes"))
    assert service["deploy"]["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", SERVICES)
def test_containers_are_not_root(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        dockerfile = (ROOT / service["build"]["dockerfile"]).read_text()
        user = re.findall(r"^USER (\d+):\d+$", dockerfile, re.MULTILINE)[-1]
    else:
        user = service["user"].partition(":")[0]
    assert int(user) >= 100


@pytest.mark.parametrize("name", LASTING)
def test_lasting_containers_come_back_and_say_how_they_are(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    # Needs a newer engine than the rest of the file: Docker 25.
    assert "start_interval" not in service["healthcheck"]


def test_what_ends_is_awaited_to_its_end() -> None:
    """`up --wait` fails if a container ends, unless another service waits for exactly that."""
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["user-api"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    for service in SERVICES.values():
        for name, dependency in service.get("depends_on", {}).items():
            if name in LASTING:
                assert dependency == {"condition": "service_healthy"}


def test_images() -> None:
    assert {name: service["image"] for name, service in SERVICES.items()} == {
        "gateway": "evenkeel/gateway:dev",
        "user-api": "evenkeel/user-api:dev",
        "counter-api": "evenkeel/counter-api:dev",
        "migrate": "evenkeel/user-api:dev",
        "postgres": "postgres:18",
        "redis-cache": "redis:8",
        "redis-counters": "redis:8",
    }


def test_data_is_kept_where_it_must_be() -> None:
    cache, counters = settings_of_redis("redis-cache"), settings_of_redis("redis-counters")
    assert (cache["save"], cache["appendonly"], cache["maxmemory-policy"]) == ("", "no", "volatile-lru")
    assert (counters["appendonly"], counters["appendfsync"]) == ("yes", "always")
    assert counters["maxmemory-policy"] == "noeviction"
    # The official image of PostgreSQL 18 keeps its data in a folder below this one, which has the version's name.
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert SERVICES["redis-counters"]["volumes"] == ["counters:/data"]
    assert COMPOSE["volumes"].keys() == {"postgres", "counters"}
    for config in COMPOSE["configs"].values():
        assert (ROOT / config["file"]).is_file()


@pytest.mark.parametrize("name", REPLICATED)
def test_services_understand_their_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica starts with these names and values, and each variable is one that it reads."""
    settings = REPLICATED[name]
    dockerfile = (ROOT / "services" / name / "Dockerfile").read_text()
    prefix = settings.model_config["env_prefix"]
    environment = dict(re.findall(rf"({prefix}\w+)=(\S+)", dockerfile))
    assert environment == {f"{prefix}HOST": "0.0.0.0", f"{prefix}PORT": "8000"}
    environment |= {key: without_env_file(value) for key, value in settings_of(SERVICES[name]).items()}
    for variable, value in environment.items():
        assert variable.removeprefix(prefix).lower() in settings.model_fields
        monkeypatch.setenv(variable, value)
    settings()
