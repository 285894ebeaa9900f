"""Secret keys as settings hold them: 32 bytes in base64."""

import base64

KEY_BYTES = 32


def secret_key(text: str) -> bytes:
    """The key, from the standard or the URL-safe alphabet (RFC 4648); ValueError unless it is 32 bytes."""
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key must be {KEY_BYTES} bytes in base64, as `openssl rand -base64 {KEY_BYTES}` makes them")
    return key
