"""The pattern for names that people choose: visible, and without effect on the text around them."""

# Neither control characters (C0, DEL, C1) nor what turns the direction of the text around it (Unicode, UAX #9).
_UNPRINTED = r"\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
# White space, and what looks like it or like nothing: Unicode's Default_Ignorable_Code_Point, and empty Braille.
# Of the basic plane, since those above it cannot be written in a way that Rust, Python and ECMAScript all read.
_BLANK = (
    r"\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2060-\u2065\u206a-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
)

READABLE = rf"^[^{_UNPRINTED}]*[^{_UNPRINTED}{_BLANK}][^{_UNPRINTED}]*$"
"""A pattern for pydantic and OpenAPI: not blank, no control characters, no bidirectional overrides."""
