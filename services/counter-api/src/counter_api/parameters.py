"""What requests of several features have in common."""

from typing import Annotated

from fastapi import Path
from pydantic import BeforeValidator, StringConstraints

from evenkeel.http.query_parameters import StrictQuery, plain_decimal

NO_STORE = {"Cache-Control": "no-store"}
NO_CACHE = {"Cache-Control": "no-cache"}

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"

strict_query = StrictQuery()

Name = Annotated[str, Path(pattern=NAME_PATTERN, examples=["downloads"])]
"""In the path."""

CounterName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""In a body or a query."""

Prefix = Annotated[str, StringConstraints(pattern=rf"^$|{NAME_PATTERN}")]

WholeNumber = Annotated[int, BeforeValidator(plain_decimal)]
"""In a query."""
