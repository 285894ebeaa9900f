"""Authenticated encryption of cache entries: AES-256-GCM (NIST SP 800-38D) under a ring of keys.

The first key encrypts and all decrypt, so a key is rotated by putting a new one in front and dropping the old one
once its entries have expired.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from evenkeel.secret_key import KEY_BYTES, secret_key

_ID_BYTES = 4
_NONCE_BYTES = 12
_HEAD_BYTES = _ID_BYTES + _NONCE_BYTES


class CannotOpen(Exception):
    """The box was sealed under a key that is not on the ring, was changed, or belongs to another name."""


class KeyRing:
    """Boxes are key id (4 bytes) + nonce (12) + ciphertext and tag.

    Nonces are random. NIST allows 2^32 boxes per key, so rotate the key before that many entries are stored.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys` of 32 bytes each; ValueError otherwise, or when there is none."""
        if not keys:
            raise ValueError("at least one key is needed")
        if any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"a key must be {KEY_BYTES} bytes")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._first = _key_id(keys[0])
        self._first_key = keys[0]

    @classmethod
    def from_text(cls, text: str) -> "KeyRing":
        """The ring from comma-separated keys in base64; ValueError when there is none, or one is no key."""
        return cls([secret_key(part.strip()) for part in text.split(",") if part.strip()])

    def derive(self, purpose: bytes) -> bytes:
        """A key of 32 bytes for another purpose, from the first key of the ring."""
        return hmac.digest(self._first_key, purpose, hashlib.sha256)

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt. `open` needs the same associated data to decrypt."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._first + nonce + self._ciphers[self._first].encrypt(nonce, plaintext, associated)

    def open(self, box: bytes, associated: bytes) -> bytes:
        """Decrypt what `seal` made, or raise CannotOpen."""
        cipher = self._ciphers.get(box[:_ID_BYTES])
        if cipher is None:
            raise CannotOpen("unknown key")
        try:
            return cipher.decrypt(box[_ID_BYTES:_HEAD_BYTES], box[_HEAD_BYTES:], associated)
        except (InvalidTag, ValueError):
            raise CannotOpen("authentication failed") from None


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"evenkeel cache key id" + key).digest()[:_ID_BYTES]
