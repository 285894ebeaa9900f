"""Keys and tokens of the local stack."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from joserfc import jwt
from joserfc.jwk import KeySet

from stack import tokens
from stack.cli import main
from stack.errors import StackError, UsageError
from stack.signing_keys import SigningKeys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signing-keys.json"


def _run(directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--directory", str(directory), *arguments])


def _set(public: Any) -> KeySet:
    return KeySet.import_key_set(public)


def test_keys_are_made_once_and_for_the_owner_only(path: Path) -> None:
    made = SigningKeys.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKeys.load_or_create(path).public() == made.public()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_rotation_keeps_the_key_before(path: Path) -> None:
    first = SigningKeys.load_or_create(path).public()["keys"]
    second = SigningKeys.rotate(path).public()["keys"]
    third = SigningKeys.rotate(path).public()["keys"]
    assert second[1:] == first
    assert third[1:] == second[:1]
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_private_is_published(path: Path) -> None:
    for key in SigningKeys.load_or_create(path).public()["keys"]:
        assert key.keys() == {"kty", "crv", "x", "y", "use", "alg", "kid"}


def test_a_damaged_file_is_one_line(path: Path) -> None:
    for text in ("", "{}", '{"keys": [{"kty": "EC"}]}', '{"keys": 1}'):
        path.write_text(text)
        with pytest.raises(StackError, match="is damaged"):
            SigningKeys.load_or_create(path)


def test_a_token_says_who_may_do_what_and_until_when(path: Path) -> None:
    keys = SigningKeys.load_or_create(path)
    token = jwt.decode(
        tokens.mint(keys, ["users:read", "counters:write", "users:read"], lifetime=60, subject="ada"),
        _set(keys.public()),
        algorithms=["ES256"],
    )
    assert token.header == {"alg": "ES256", "typ": "at+jwt", "kid": keys.keys[0].kid}
    claims = token.claims
    assert claims.pop("exp") == claims.pop("iat") + 60
    assert len(claims.pop("jti")) == 16
    assert claims == {
        "iss": "evenkeel-stack",
        "aud": "evenkeel",
        "sub": "ada",
        "client_id": "stack",
        "scope": "users:read counters:write",
    }


@pytest.mark.parametrize("scopes", [[], ["users"], ["users:read", "admin"], ["users:read counters:read"], [""]])
def test_a_scope_that_there_is_not_is_refused(path: Path, scopes: list[str]) -> None:
    with pytest.raises(UsageError, match=", counters:write, fleet:read"):
        tokens.mint(SigningKeys.load_or_create(path), scopes)


@pytest.mark.parametrize("subject", ["", "x" * 129, "a\nb", "é"])
def test_a_subject_has_a_place_in_a_log(path: Path, subject: str) -> None:
    with pytest.raises(UsageError, match="--subject must be"):
        tokens.mint(SigningKeys.load_or_create(path), ["users:read"], subject=subject)


def test_the_command_prints_a_token_and_nothing_else(tmp_path: Path) -> None:
    ended = _run(tmp_path / "stack", "token", "users:read", "--jwks", str(tmp_path / "jwks.json"))
    assert (ended.exit_code, ended.stderr, ended.stdout.count("\n")) == (0, "", 1)
    published = _set(json.loads((tmp_path / "jwks.json").read_text()))
    assert jwt.decode(ended.stdout.strip(), published, algorithms=["ES256"]).claims["scope"] == "users:read"
    assert (tmp_path / "jwks.json").stat().st_mode & 0o777 == 0o644  # another user's container reads it
    assert (tmp_path / "stack" / "signing-keys.json").stat().st_mode & 0o777 == 0o600


def test_keys_are_rotated_where_nothing_runs_and_deleted_with_the_data(tmp_path: Path) -> None:
    stack = tmp_path / "stack"
    before = _run(stack, "token", "users:read").stdout
    assert _run(stack, "rotate-keys").exit_code == 0
    keys = SigningKeys.load_or_create(stack / "signing-keys.json")
    assert jwt.decode(before.strip(), _set(keys.public()), algorithms=["ES256"]).claims["scope"] == "users:read"
    assert _run(stack, "down", "--delete-data").exit_code == 0
    assert not stack.exists()
