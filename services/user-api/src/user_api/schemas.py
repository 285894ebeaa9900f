"""Bodies of requests and answers, as JSON and in the OpenAPI document."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from evenkeel.http.problems import ProblemDocument
from evenkeel.http.query_parameters import plain_decimal
from evenkeel.http.readable import READABLE

PATH = "/v1/users"
MAX_ID = 2**63 - 1
MAX_BATCH = 100
MAX_PAGE = 1000

UserId = Annotated[int, Field(ge=1, le=MAX_ID, examples=[1]), BeforeValidator(plain_decimal)]
Version = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(plain_decimal)]

# The pattern of <input type=email> (WHATWG HTML, 4.10.5.1.5), which includes addresses in intranets.
_EMAIL = (
    r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$"
)
Email = Annotated[
    str,
    Field(min_length=3, max_length=254, pattern=_EMAIL, description="An e-mail address", examples=["ada@example.com"]),
]
Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=READABLE,
        description="1 to 200 characters, not all of them blank; no control characters, no bidirectional overrides",
        examples=["Ada Lovelace"],
    ),
]


class User(BaseModel):
    id: UserId
    email: Email
    name: Name
    version: int = Field(ge=1, le=MAX_ID, description="1 at first, one more with every change", examples=[1])
    created_at: datetime
    updated_at: datetime


class NewUser(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: Email
    name: Name


class UserPatch(BaseModel):
    """A JSON merge patch (RFC 7396). No member of a user can be removed, so null is refused."""

    model_config = ConfigDict(extra="forbid")

    # The factory keeps the default, which is never used, out of the OpenAPI document.
    email: Email = Field(default_factory=str)
    name: Name = Field(default_factory=str)


class UserProblemDocument(ProblemDocument):
    current: Version = Field(1, description="Of `precondition-failed`: the version that the user has")


class UserAnswer(BaseModel):
    source: Literal["memory", "redis", "database"] = Field(description="The tier that answered")
    data: User


class UserPage(BaseModel):
    data: list[User]


class UserBatch(BaseModel):
    data: list[User]
    missing: list[UserId] = Field(description="Those of the ids that do not exist")


def _one_list(value: Any) -> Any:
    """The ids of all `ids=` in the given order, each once. One error stands for all, since there may be thousands."""
    if not isinstance(value, list):
        return value
    parts = ",".join(value).split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError("ids are whole numbers, separated by commas")
    numbers = dict.fromkeys(part.lstrip("0") for part in parts)
    # The length comes first, because int() refuses thousands of digits.
    if not all(number and len(number) <= _MAX_DIGITS and int(number) <= MAX_ID for number in numbers):
        raise ValueError(f"an id is a number from 1 to {MAX_ID}")
    if len(numbers) > MAX_BATCH:
        raise ValueError(f"at most {MAX_BATCH} ids at once")
    return list(numbers)


_MAX_DIGITS = len(str(MAX_ID))


class ListQuery(BaseModel):
    """Either `ids`, or `email`, or a page by `limit` and `after`."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[UserId], BeforeValidator(_one_list), Field(min_length=1, max_length=MAX_BATCH)] | None = Field(
        None,
        description=f"Up to {MAX_BATCH} ids, separated by commas or each with an `ids=` of its own",
        examples=[[1, 2, 3]],
    )
    email: Email | None = Field(
        None, description="The one user who has this address, in any letter case", examples=["ada@example.com"]
    )
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE), BeforeValidator(plain_decimal)] | None = Field(
        None, description="Users on a page; 100 by default"
    )
    after: UserId | None = Field(None, description="The page begins behind this id")

    @model_validator(mode="after")
    def _batch_or_page(self) -> "ListQuery":
        for alone in ("ids", "email"):
            if getattr(self, alone) is not None and len(self.model_fields_set) > 1:
                raise ValueError(f"{alone} cannot be combined with other parameters")
        return self
