"""Text that people give something to be known by."""

from typing import Annotated

import pytest
from pydantic import StringConstraints, TypeAdapter, ValidationError

from evenkeel.http.readable import READABLE

TEXT: TypeAdapter[str] = TypeAdapter(Annotated[str, StringConstraints(pattern=READABLE)])

# Default_Ignorable_Code_Point of Unicode's basic plane (DerivedCoreProperties.txt), the overrides apart.
INVISIBLE = [
    *(0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180E, 0x180F),
    *(*range(0x200B, 0x2010), *range(0x2060, 0x2066), *range(0x206A, 0x2070), 0x3164, *range(0xFE00, 0xFE10)),
    *(0xFEFF, 0xFFA0, *range(0xFFF0, 0xFFF9)),
]


@pytest.mark.parametrize("code", INVISIBLE, ids=hex)
def test_what_cannot_be_seen_is_blank_alone_and_fine_inside(code: int) -> None:
    for blank in (chr(code), f" {chr(code) * 3}\u3000"):
        with pytest.raises(ValidationError):
            TEXT.validate_python(blank)
    assert TEXT.validate_python(f"a{chr(code)}") == f"a{chr(code)}"


@pytest.mark.parametrize("code", [0x00, 0x0A, 0x1F, 0x7F, 0x85, 0x9F, 0x202A, 0x202E, 0x2066, 0x2069], ids=hex)
def test_what_changes_the_text_around_it(code: int) -> None:
    with pytest.raises(ValidationError):
        TEXT.validate_python(f"a{chr(code)}b")
