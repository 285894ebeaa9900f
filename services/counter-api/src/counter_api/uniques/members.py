"""What a store sees of a member: a hash under a key that only the replicas have.

Redis writes every command to its append-only file. An e-mail address must not be there, nor a plain hash of one:
anybody can compute the hashes of all addresses and compare.
"""

import hashlib

_DIGEST_SIZE = 16


class MemberHash:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, name: str, member: str) -> str:
        """BLAKE2b (RFC 7693) under the key; one member has unrelated hashes under different names."""
        # A name holds no NUL, so no two pairs make the same text.
        text = f"{name}\0{member}".encode()
        return hashlib.blake2b(text, key=self._key, digest_size=_DIGEST_SIZE).hexdigest()
