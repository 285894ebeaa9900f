"""What a store sees of a member: a hash under a key that only the replicas have.

Redis writes every command to its append-only file. An e-mail address or a plain hash of one, which anybody can compute
for every address there is, must not be there.
"""

import base64
import hashlib

KEY_SIZE = 32
"""Bytes of a key."""

_DIGEST_SIZE = 16


def key_from_text(text: str) -> bytes:
    """The key from its base64; ValueError if it is not 32 bytes."""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise ValueError(f"must be {KEY_SIZE} bytes in base64, as `openssl rand -base64 {KEY_SIZE}` makes them")
    return key


class MemberHash:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, name: str, member: str) -> str:
        """BLAKE2b (RFC 7693) under the key; one member has unrelated hashes under different names."""
        # A name holds no NUL, so no two pairs make the same text.
        text = f"{name}\0{member}".encode()
        return hashlib.blake2b(text, key=self._key, digest_size=_DIGEST_SIZE).hexdigest()
