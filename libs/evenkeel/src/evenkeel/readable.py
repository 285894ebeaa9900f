"""Text that people give something to be known by: it can be seen, and leaves the text around it as it is."""

# Neither control characters (C0, DEL, C1) nor what turns the direction of the text around it (Unicode, UAX #9).
_UNPRINTED = r"\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
# White space, and characters that look like it or like nothing.
_BLANK = r"\s\u00ad\u115f\u1160\u180e\u200b-\u200f\u2060-\u2064\u2800\u3164\ufeff\uffa0"

READABLE = rf"^[^{_UNPRINTED}]*[^{_UNPRINTED}{_BLANK}][^{_UNPRINTED}]*$"
"""A pattern of pydantic's and of OpenAPI's: not all of it blank, no control characters, no bidirectional overrides."""
