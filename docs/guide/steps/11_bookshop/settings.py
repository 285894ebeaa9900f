"""Settings of the bookshop, from BOOKSHOP_… variables. Those of every service, such as its port, are there too."""

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from evenkeel.service.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="BOOKSHOP_")

    database_url: SecretStr
    cache_url: SecretStr
    cache_keys: SecretStr
