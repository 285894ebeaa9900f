"""Settings of user-api, from USER_API_… variables."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from evenkeel.cache.keyring import KeyRing
from evenkeel.redis.topology import topology_of
from evenkeel.redis.urls import Credentials, kind_of, sentinel_credentials
from evenkeel.service.settings import ServiceSettings
from user_api.database_url import DatabaseAddress, parse_database_url

DAY = 86400
"""Seconds."""

TierName = Literal["memory", "redis"]


class MigrationSettings(ServiceSettings):
    """What `user-api migrate` needs. Secrets have no defaults, so that no two deployments share one by accident."""

    model_config = SettingsConfigDict(env_prefix="USER_API_")

    database_url: SecretStr = Field(description="postgresql://user:password@host:port/database")

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: SecretStr) -> SecretStr:
        parse_database_url(value.get_secret_value())
        return value

    @property
    def database(self) -> DatabaseAddress:
        """The parsed `database_url`."""
        return parse_database_url(self.database_url.get_secret_value())


class Settings(MigrationSettings):
    """What a replica needs."""

    database_pool_size: int = Field(10, ge=1, le=1000, description="connections this replica may hold")
    cache_tiers: Annotated[tuple[TierName, ...], NoDecode] = Field(
        ("memory", "redis"), description="tiers in the order of reading; empty: always PostgreSQL"
    )
    cache_url: SecretStr | None = Field(
        None,
        description="the Redis that is written: redis://…, rediss://… or unix://…, "
        "redis+sentinel://host:port,…/service or redis+cluster://host:port,…",
    )
    cache_sentinel_username: str | None = Field(
        None, description="user name for the Sentinels, if they have users of their own"
    )
    cache_sentinel_password: SecretStr | None = Field(
        None, description="password for the Sentinels; without it they get none"
    )
    cache_read_url: SecretStr | None = Field(
        None,
        description="the Redis server that is read: redis://…, rediss://… or unix://…; by default the one that is "
        "written",
    )
    cache_keys: SecretStr | None = Field(None, description="base64 keys of 32 bytes; the first encrypts, all decrypt")
    cache_ttl: float = Field(600, ge=0.1, le=31_536_000, description="seconds that an entry is fresh")
    cache_stale_ttl: float = Field(
        3600,
        ge=0,
        le=31_536_000,
        description="seconds that it is kept; if stale, it is served while refreshed",
    )
    memory_max_entries: int = Field(10_000, ge=1, description="entries in process memory")
    idempotency_ttl: int = Field(DAY, ge=1, le=365 * DAY, description="seconds for which an Idempotency-Key is kept")
    memory_ttl: float = Field(60, gt=0, le=3600, description="seconds that process memory keeps an entry")

    @field_validator("cache_tiers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = [name.strip() for name in value.split(",") if name.strip()]
        if wrong := [name for name in names if name not in {"memory", "redis"}]:
            raise ValueError(f"{wrong[0]!r} is no tier; choose from memory, redis")
        if len(set(names)) < len(names):
            raise ValueError("a tier is named twice")
        if names == ["redis", "memory"]:
            raise ValueError("memory comes before redis")
        return names

    @field_validator("cache_url", "cache_read_url")
    @classmethod
    def _redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            topology_of(value.get_secret_value(), name="user-api")
        return value

    @field_validator("cache_read_url")
    @classmethod
    def _one_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value and kind_of(value.get_secret_value()):
            raise ValueError("is one server: redis://…, rediss://… or unix://…")
        return value

    @field_validator("cache_keys")
    @classmethod
    def _keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            KeyRing.from_text(value.get_secret_value())
        return value

    @property
    def cache_sentinels(self) -> Credentials:
        """User name and password for the Sentinels."""
        return sentinel_credentials(
            self.cache_url.get_secret_value() if self.cache_url else "redis:",
            self.cache_sentinel_username,
            self.cache_sentinel_password.get_secret_value() if self.cache_sentinel_password else None,
        )

    @model_validator(mode="after")
    def _sentinels_are_there(self) -> "Settings":
        try:
            self.cache_sentinels  # noqa: B018 (it raises)
        except ValueError as error:
            names = "USER_API_CACHE_SENTINEL_USERNAME and USER_API_CACHE_SENTINEL_PASSWORD"
            raise ValueError(f"{names} {error}") from None
        return self

    @model_validator(mode="after")
    def _redis_tier_has_what_it_needs(self) -> "Settings":
        if "redis" in self.cache_tiers:
            for name in ("cache_url", "cache_keys"):
                if getattr(self, name) is None:
                    raise ValueError(f"USER_API_{name.upper()} is required while USER_API_CACHE_TIERS names redis")
        return self
