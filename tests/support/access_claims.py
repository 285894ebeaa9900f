"""The claims of a good access token, and the differences of bad ones."""

import time
from typing import Any

from stack.tokens import AUDIENCE, ISSUER, SCOPES


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a token that is valid for ten minutes and has every scope. A claim that is None is left out."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "test",
        "scope": " ".join(SCOPES),
        "exp": int(time.time()) + 600,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}
