"""The passwords and keys of one stack, made once and kept beside its data."""

import base64
import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from stack.errors import StackError
from stack.files import write_json


def _password() -> str:
    return secrets.token_hex(24)


def _key() -> str:
    """32 bytes in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True)
class Credentials:
    postgres_admin: str = field(default_factory=_password, repr=False)
    postgres: str = field(default_factory=_password, repr=False)
    redis_cache: str = field(default_factory=_password, repr=False)
    redis_counters: str = field(default_factory=_password, repr=False)
    cache_key: str = field(default_factory=_key, repr=False)
    """For AES-256."""
    uniques_key: str = field(default_factory=_key, repr=False)
    """For the hashes of unique members."""

    @classmethod
    def load_or_create(cls, path: Path) -> "Credentials":
        """The credentials in the file. Missing ones are made and written; only the owner can read the file."""
        if path.exists():
            try:
                found = json.loads(path.read_text())
                credentials = cls(**found)
            except (ValueError, TypeError) as error:
                raise StackError(f"{path} is damaged; `stack down --delete-data` starts afresh") from error
            if found == asdict(credentials):
                return credentials
        else:
            credentials = cls()
        write_json(path, asdict(credentials))
        return credentials
