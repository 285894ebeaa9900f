"""What a good access token says, and what a bad one says instead."""

import time
from typing import Any

from stack.tokens import AUDIENCE, ISSUER, SCOPES


def claims(**changes: Any) -> dict[str, Any]:
    """Of a token that is good for ten minutes and everything; a claim that is None is left out."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "test",
        "scope": " ".join(SCOPES),
        "exp": int(time.time()) + 600,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}
