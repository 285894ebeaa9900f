"""Each fault raises its alert, and no other. Prometheus' own promtool judges."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from tests.support import promtool

pytestmark = pytest.mark.promtool


def of(name: str, job: str, pod: str, **labels: str) -> str:
    own = {"namespace": "evenkeel", "job": job, "pod": pod} | labels
    return f"{name}{{{','.join(f'{key}={chr(34)}{value}{chr(34)}' for key, value in own.items())}}}"


def up(job: str, pod: str) -> str:
    return of("up", job, pod)


def failed(job: str, pod: str, check: str) -> str:
    return of("readiness_check_failed", job, pod, check=check)


def requests(job: str, status: str) -> str:
    return of("http_requests_total", job, f"{job}-1", status=status, route="/v1/users/{user_id}")


def durations(le: str) -> str:
    return of("http_request_duration_seconds_bucket", "user-api", "user-api-1", route="/v1/users", le=le)


def cache(name: str, pod: str = "user-api-1", **labels: str) -> str:
    return of(name, "user-api", pod, cache="user", **labels)


LAG = "cache_relay_lag_seconds"
HEALTHY = {
    **{up(job, f"{job}-{n}"): "1x60" for job in ("user-api", "counter-api") for n in (1, 2)},
    **{failed("user-api", f"user-api-{n}", check): "0x60" for n in (1, 2) for check in ("postgresql", "migrations")},
    **{
        failed("counter-api", f"counter-api-{n}", check): "0x60"
        for n in (1, 2)
        for check in ("redis", "redis-settings", "unsafe-redis")
    },
    **{cache(LAG, f"user-api-{n}"): "0.1x60" for n in (1, 2)},
    requests("user-api", "200"): "0+6000x60",
    durations("0.1"): "0+6000x60",
    durations("2.5"): "0+6000x60",
    durations("+Inf"): "0+6000x60",
    cache("cache_breaker_open", tier="redis"): "0x60",
    of("database_connections_in_use", "user-api", "user-api-1"): "3x60",
    of("database_connections_limit", "user-api", "user-api-1"): "10x60",
}

REPLICA = up("user-api", "user-api-2")
FAULTS: Mapping[str, tuple[Mapping[str, str], set[str]]] = {
    "none": ({}, set()),
    "a killed replica of three": (
        {REPLICA: "1x5 0x55", up("user-api", "user-api-3"): "1x60"},
        {"ReplicaDown"},
    ),
    "a killed replica of two": ({REPLICA: "1x5 0x55"}, {"ReplicaDown", "OneReplicaLeft"}),
    "a replica that is gone from two": ({REPLICA: "1x5"}, {"OneReplicaLeft"}),
    "a replica that is started again": ({REPLICA: "1x5 0x1 1x53"}, set()),
    "all replicas of a service": (
        {up("counter-api", f"counter-api-{n}"): "1x5 0x55" for n in (1, 2)},
        {"ServiceAbsent", "ReplicaDown"},
    ),
    "all replicas are gone": (
        {up("counter-api", f"counter-api-{n}"): "1x5" for n in (1, 2)},
        {"ServiceAbsent"},
    ),
    "a lagging relay": ({cache(LAG, f"user-api-{n}"): "0.1x5 2x55" for n in (1, 2)}, {"CacheRelayBehind"}),
    "a replica that does not see the relay": ({cache(LAG): "0.1x5 2x55"}, set()),
    "an unsafe Redis": (
        {failed("counter-api", f"counter-api-{n}", "unsafe-redis"): "0x5 1x55" for n in (1, 2)},
        {"UnsafeRedis"},
    ),
    "a stuck migration": ({failed("user-api", "user-api-2", "migrations"): "0x5 1x55"}, {"MigrationsMissing"}),
    "a stuck migration before the replica's start": ({up("user-api", "user-api-3"): "_x5 0x55"}, {"ReplicaDown"}),
    "PostgreSQL is away": (
        {failed("user-api", f"user-api-{n}", "postgresql"): "0x5 1x55" for n in (1, 2)},
        {"ReplicaNotReady"},
    ),
    "PostgreSQL was restarted": ({failed("user-api", "user-api-1", "postgresql"): "0x5 1x1 0x54"}, set()),
    "errors": ({requests("user-api", "503"): "0+100x60"}, {"ServerErrors"}),
    "slow answers": ({durations("0.1"): "0+60x60"}, {"SlowAnswers"}),
    "a table that is not trusted": ({cache("cache_untrusted", reason="off"): "_x5 1x55"}, {"CacheUntrusted"}),
    "the cache is away": ({cache("cache_breaker_open", tier="redis"): "0x5 1x55"}, {"CacheUnavailable"}),
    "another key": (
        {cache("cache_unreadable_entries_total", reason="unknown key"): "0+10x60"},
        {"CacheEntriesUnreadable"},
    ),
    "stale answers": ({cache("cache_stale_if_error_total", tier="redis"): "0+10x60"}, {"StaleAnswers"}),
    "a pool that is used up": (
        {of("database_connections_in_use", "user-api", "user-api-1"): "3x5 10x55"},
        {"DatabaseConnectionsUsedUp"},
    ),
    "a counters' Redis that is full": (
        {of("counter_redis_errors_total", "counter-api", "counter-api-1", reason="OOM"): "0+10x60"},
        {"CounterRedisErrors"},
    ),
}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What promtool found wrong, by fault."""
    cases = {fault: promtool.Case({**HEALTHY, **series}, "30m", alerts) for fault, (series, alerts) in FAULTS.items()}
    return promtool.judged(tmp_path_factory.mktemp("alerts"), cases)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_raises_its_alert_and_no_other(fault: str, wrong: dict[str, str]) -> None:
    assert fault not in wrong, wrong[fault]


def test_each_alert_is_raised_by_some_fault() -> None:
    (group,) = yaml.safe_load(promtool.ALERTS.read_text())["spec"]["groups"]
    assert {rule["alert"] for rule in group["rules"]} == set().union(*(alerts for _, alerts in FAULTS.values()))


def test_compose_has_the_same_rules_as_kubernetes(tmp_path: Path) -> None:
    found = promtool.rules(tmp_path)
    assert yaml.safe_load(found.read_text()) == yaml.safe_load(promtool.ALERTS.read_text())["spec"]
    assert "SUCCESS" in promtool.run("check", "rules", "--lint=all", "--lint-fatal", found)
