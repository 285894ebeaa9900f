"""Plain requests: nothing but the address can change their answer, so a layer ahead of FastAPI may answer them.

The fields that make any request more than plain are named here, once. A route adds those that it alone reads.
"""

from starlette.types import Scope

from evenkeel.http.repeated_fields import SINGLE

PRECONDITIONS = frozenset({b"if-match", b"if-none-match"})
"""No route ignores them."""

BODY = frozenset({b"content-length", b"transfer-encoding", b"expect"})
"""They announce a body, which may be of the wrong type or too large."""

NEVER_PLAIN = SINGLE | PRECONDITIONS | BODY

# What many clients send with a POST that has no body.
_NO_BODY = (b"content-length", b"0")


class Plain:
    """Recognises the plain requests of one route."""

    def __init__(self, method: str, *, reads: frozenset[bytes] = frozenset()) -> None:
        """`reads` are the header fields that the route reads, in lower case."""
        self._method = method
        self.fields = NEVER_PLAIN | reads
        """A request that has one of these fields is not plain."""

    def __call__(self, scope: Scope) -> bool:
        """Whether the request is plain, as far as its method and header fields go."""
        if scope["type"] != "http" or scope["method"] != self._method:
            return False
        fields = self.fields
        # Faster than a set operation on the names, since most requests have few fields.
        for field in scope["headers"]:  # noqa: SIM110 (`all` costs a generator for each request)
            if field[0] in fields and field != _NO_BODY:
                return False
        return True
