"""Access tokens for the gateway: scopes, lifetime and subject."""

import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stack.errors import UsageError

if TYPE_CHECKING:  # its cryptography takes longer to import than most commands take to run
    from stack.signing_keys import SigningKeys

SCOPES = ("users:read", "users:write", "counters:read", "counters:write", "fleet:read")

# gateway/access/tokens/filter.yaml expects these.
ISSUER = "evenkeel-stack"
AUDIENCE = "evenkeel"

DEFAULT_LIFETIME = 3600
MAX_LIFETIME = 366 * 24 * 3600
"""Seconds."""

DEFAULT_SUBJECT = "local-developer"
MAX_SUBJECT = 128


def mint(
    keys: "SigningKeys", scopes: Sequence[str], *, lifetime: int = DEFAULT_LIFETIME, subject: str = DEFAULT_SUBJECT
) -> str:
    """A token with these scopes that is valid for so many seconds from now.

    Raises UsageError for a scope that no route requires, and for a subject that cannot be logged.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        wrong = f"there is no scope {unknown[0]!r}" if unknown else "a token needs scopes"
        raise UsageError(f"{wrong}; choose from {', '.join(SCOPES)}")
    if not (subject.isascii() and subject.isprintable() and 0 < len(subject) <= MAX_SUBJECT):
        raise UsageError(f"--subject must be 1 to {MAX_SUBJECT} printable ASCII characters")
    now = int(time.time())
    return keys.sign(
        {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "client_id": "stack",
            "scope": " ".join(dict.fromkeys(scopes)),
            "iat": now,
            "exp": now + lifetime,
            "jti": secrets.token_hex(8),
        }
    )
