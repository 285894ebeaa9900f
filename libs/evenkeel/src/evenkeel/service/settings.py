"""Settings from the environment, read once at start-up."""

import socket
import sys
from typing import Annotated, Literal, TypeVar

from pydantic import Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsError

S = TypeVar("S", bound=BaseSettings)

# Goes into a response header and into metrics labels.
ReplicaName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class ServiceSettings(BaseSettings):
    """Settings of every service. A service adds its own, and sets `env_prefix`."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    replica_name: ReplicaName = Field(default_factory=socket.gethostname, description="answers carry it in X-Served-By")
    drain: float = Field(3, ge=0, le=300, description="seconds to serve on after SIGTERM, as not ready")
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def load(settings: type[S]) -> S:
    """Read the settings, or end the process: one line on standard error that names each wrong one, exit status 2."""
    try:
        return settings()
    except (ValidationError, SettingsError) as error:
        sys.stderr.write(f"{settings.model_config['env_prefix']} settings: {_sentence(settings, error)}\n")
        sys.exit(2)


def _sentence(settings: type[BaseSettings], error: ValidationError | SettingsError) -> str:
    if isinstance(error, SettingsError):
        return str(error)
    prefix = settings.model_config["env_prefix"]
    wrong = []
    for failure in error.errors(include_input=False, include_url=False):
        reason = "is required" if failure["type"] == "missing" else failure["msg"].removeprefix("Value error, ")
        # An error about several settings has no location, and names them in its message.
        names = [f"{prefix}{str(part).upper()}: " for part in failure["loc"][:1]]
        wrong.append("".join([*names, reason]))
    return "; ".join(wrong).replace("\n", " ")
