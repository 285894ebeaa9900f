"""The keys of this stack's access tokens: the newest one signs, and tokens of the previous one stay valid."""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from stack.errors import StackError
from stack.files import write_json

KEPT = 2
"""The key that signs and its predecessor."""


class SigningKeys:
    """Keys for ES256 (RFC 7518, 3.4), the newest first, in a file that only its owner can read."""

    def __init__(self, keys: Sequence[ECKey]) -> None:
        self.keys = list(keys)

    @classmethod
    def load_or_create(cls, path: Path) -> "SigningKeys":
        """The keys in the file. A missing file is made, with a first key; of two processes that make it, one wins."""
        if not path.exists():
            _create(path, [_new_key()])
        try:
            keys = [ECKey.import_key(key) for key in json.loads(path.read_text())["keys"]]
        except (ValueError, KeyError, TypeError, JoseError) as error:
            raise StackError(f"{path} is damaged; delete it, which makes all tokens invalid") from error
        return cls(keys)

    @classmethod
    def rotate(cls, path: Path) -> "SigningKeys":
        """Add a new key, which signs from now on. Tokens of the previous one stay valid until the next rotation."""
        keys = [_new_key(), *cls.load_or_create(path).keys][:KEPT]
        write_json(path, _document(keys))
        return cls(keys)

    def public(self) -> dict[str, Any]:
        """The JSON Web Key Set by which tokens are verified (RFC 7517)."""
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    def sign(self, claims: dict[str, Any]) -> str:
        """An access token in the form of RFC 9068."""
        newest = self.keys[0]
        return jwt.encode({"alg": "ES256", "kid": newest.kid, "typ": "at+jwt"}, claims, newest)


def _new_key() -> ECKey:
    return ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)


def _document(keys: Sequence[ECKey]) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=True) for key in keys]}


def _create(path: Path, keys: Sequence[ECKey]) -> None:
    mine = path.with_name(f".{path.name}.{os.getpid()}")
    write_json(mine, _document(keys))
    with contextlib.suppress(FileExistsError):
        os.link(mine, path)
    mine.unlink()
