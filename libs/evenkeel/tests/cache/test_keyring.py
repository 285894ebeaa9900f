import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel.cache.keyring import CannotOpen, KeyRing

A, B = b"a" * 32, b"b" * 32


@given(plaintext=st.binary(), associated=st.binary())
def test_opens_what_it_sealed(plaintext: bytes, associated: bytes) -> None:
    ring = KeyRing([A])
    assert ring.open(ring.seal(plaintext, associated), associated) == plaintext


@given(st.data())
def test_any_changed_bit_is_noticed(data: st.DataObject) -> None:
    ring = KeyRing([A])
    box = bytearray(ring.seal(b"payload", b"key"))
    bit = data.draw(st.integers(0, len(box) * 8 - 1))
    box[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CannotOpen):
        ring.open(bytes(box), b"key")


@given(st.integers(0, 38))
def test_cut_box_is_noticed(length: int) -> None:
    ring = KeyRing([A])
    with pytest.raises(CannotOpen):
        ring.open(ring.seal(b"payload", b"key")[:length], b"key")


def test_box_belongs_to_its_associated_data() -> None:
    ring = KeyRing([A])
    with pytest.raises(CannotOpen, match="authentication failed"):
        ring.open(ring.seal(b"payload", b"user:1"), b"user:2")


def test_first_key_seals_and_all_open() -> None:
    old, both, new = KeyRing([A]), KeyRing([B, A]), KeyRing([B])
    assert both.open(old.seal(b"x", b""), b"") == b"x"
    assert new.open(both.seal(b"x", b""), b"") == b"x"
    with pytest.raises(CannotOpen, match="unknown key"):
        new.open(old.seal(b"x", b""), b"")


def test_same_plaintext_never_looks_the_same() -> None:
    ring = KeyRing([A])
    assert len({ring.seal(b"x", b"") for _ in range(1000)}) == 1000


def test_derives_other_keys_from_the_first() -> None:
    derived = KeyRing([B, A]).derive(b"purpose")
    assert derived == KeyRing([B]).derive(b"purpose")
    assert len({derived, KeyRing([A, B]).derive(b"purpose"), KeyRing([B]).derive(b"other"), A, B}) == 5
    assert len(derived) == 32


def test_from_text() -> None:
    text = f" {base64.b64encode(B).decode()}, {base64.urlsafe_b64encode(bytes([255] * 32)).decode()} ,"
    assert KeyRing.from_text(text).open(KeyRing([B]).seal(b"x", b""), b"") == b"x"


@pytest.mark.parametrize("text", ["", ",", "short", "a" * 43, base64.b64encode(b"a" * 31).decode(), "é" * 44])
def test_from_text_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        KeyRing.from_text(text)
