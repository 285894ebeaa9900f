"""Settings of counter-api, from the environment."""

import multiprocessing
import os
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from counter_api.counters.series import MOST_BUCKETS, Unit
from evenkeel.redis.topology import topology_of
from evenkeel.redis.urls import Credentials, sentinel_credentials
from evenkeel.secret_key import secret_key
from evenkeel.service.settings import ServiceSettings

DAY = 86_400
"""Seconds."""


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="COUNTER_API_")

    store: Literal["redis", "memory"] = Field(
        "redis",
        description="memory belongs to one process: it is lost when the process ends, and two processes count apart",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="redis://…, rediss://… or unix://…, redis+sentinel://host:port,…/service or "
        "redis+cluster://host:port,…; required by the redis store",
    )
    sentinel_username: str | None = Field(None, description="for the Sentinels, if they have users of their own")
    sentinel_password: SecretStr | None = Field(None, description="for the Sentinels; without it none is sent to them")
    idempotency_ttl: int = Field(DAY, ge=1, le=365 * DAY, description="seconds for which an Idempotency-Key is kept")
    series_retention_minute: int = Field(DAY, ge=60, le=MOST_BUCKETS * 60, description="seconds to keep minutes")
    series_retention_hour: int = Field(60 * DAY, ge=3600, le=MOST_BUCKETS * 3600, description="seconds to keep hours")
    series_retention_day: int = Field(730 * DAY, ge=DAY, le=MOST_BUCKETS * DAY, description="seconds to keep days")
    max_waiting: int = Field(10_000, ge=1, le=1_000_000, description="operations that may wait for Redis before 503")
    patience: float = Field(4.0, gt=0, le=60, description="seconds for which a command without an answer is sent again")
    replica_acks: int = Field(0, ge=0, le=10, description="replicas of Redis that must have a count on disk")
    uniques_key: SecretStr | None = Field(
        None, description="32 bytes in base64 under which members of uniques are hashed, the same for all replicas"
    )
    allow_unsafe_redis: bool = Field(False, description="be ready, and accept changes, even if Redis may lose counts")

    @field_validator("redis_url")
    @classmethod
    def _redis_url_is_usable(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            topology_of(url.get_secret_value(), name="counter-api")
        return url

    @field_validator("uniques_key")
    @classmethod
    def _uniques_key_is_one(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            secret_key(key.get_secret_value())
        return key

    @property
    def sentinels(self) -> Credentials:
        """User name and password for the Sentinels."""
        return sentinel_credentials(
            self.redis_url.get_secret_value() if self.redis_url else "redis:",
            self.sentinel_username,
            self.sentinel_password.get_secret_value() if self.sentinel_password else None,
        )

    @property
    def series_retention(self) -> dict[Unit, int]:
        """Seconds."""
        return {
            "minute": self.series_retention_minute,
            "hour": self.series_retention_hour,
            "day": self.series_retention_day,
        }

    @model_validator(mode="after")
    def _store_can_work(self) -> Self:
        if self.store == "redis" and self.redis_url is None:
            raise ValueError("COUNTER_API_REDIS_URL is required when COUNTER_API_STORE is redis")
        if self.store == "memory" and (why := one_of_several_workers()):
            raise ValueError(f"COUNTER_API_STORE=memory counts in one process only, but {why}; use redis")
        try:
            self.sentinels  # noqa: B018 (it raises)
        except ValueError as error:
            raise ValueError(f"COUNTER_API_SENTINEL_USERNAME and COUNTER_API_SENTINEL_PASSWORD {error}") from None
        return self


def one_of_several_workers() -> str | None:
    """The sign that other processes serve the same requests, or None.

    uvicorn and similar servers start workers by multiprocessing. gunicorn forks them itself, and puts its name into
    the environment.
    """
    workers = os.environ.get("WEB_CONCURRENCY", "").strip() or "1"
    if workers != "1":
        return f"WEB_CONCURRENCY is {workers!r}"
    if is_worker():
        return "this is a worker process of a server that starts several"
    if os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn"):
        return "gunicorn starts several workers"
    return None


def is_worker() -> bool:
    return multiprocessing.parent_process() is not None
