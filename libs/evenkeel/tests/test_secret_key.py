import base64

import pytest

from evenkeel.secret_key import secret_key

KEY = bytes(range(200, 232))


@pytest.mark.parametrize("text", [base64.b64encode(KEY).decode(), base64.urlsafe_b64encode(KEY).decode()])
def test_both_alphabets(text: str) -> None:
    assert secret_key(text) == KEY


@pytest.mark.parametrize(
    "text", ["", "KEY", "a" * 43, base64.b64encode(KEY[:31]).decode(), base64.b64encode(KEY).decode() + "\n", "é" * 44]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a key must be 32 bytes in base64"):
        secret_key(text)
