"""Settings of counter-api, from the environment."""

import multiprocessing
import os
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from evenkeel.redis_client import connect
from evenkeel.settings import ServiceSettings

DAY = 86_400
"""Seconds."""


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="COUNTER_API_")

    store: Literal["redis", "memory"] = Field(
        "redis", description="memory is one process's own: gone when it ends, and wrong as soon as there are two"
    )
    redis_url: SecretStr | None = Field(
        None, description="redis://…, rediss://… or unix://…; required by the redis store"
    )
    idempotency_ttl: int = Field(DAY, ge=1, le=365 * DAY, description="seconds for which an Idempotency-Key is kept")
    allow_unsafe_redis: bool = Field(False, description="be ready although Redis is set up to lose counts")

    @field_validator("redis_url")
    @classmethod
    def _redis_url_is_usable(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                pool = connect(url.get_secret_value(), name="counter-api").connection_pool
                pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has not typed it
            except (TypeError, ValueError) as error:
                # The URL itself stays out of the message: it holds the password.
                raise ValueError(f"is not a usable Redis URL ({type(error).__name__})") from None
        return url

    @model_validator(mode="after")
    def _store_can_work(self) -> Self:
        if self.store == "redis" and self.redis_url is None:
            raise ValueError("COUNTER_API_REDIS_URL is required when COUNTER_API_STORE is redis")
        if self.store == "memory" and (why := one_of_several_workers()):
            raise ValueError(f"COUNTER_API_STORE=memory counts in one process only, but {why}; use redis")
        return self


def one_of_several_workers() -> str | None:
    """Say what shows that other processes serve the same requests, or None.

    uvicorn and its like start workers by multiprocessing; gunicorn forks them itself and names itself in the
    environment.
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
