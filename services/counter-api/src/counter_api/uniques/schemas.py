"""Bodies of requests and answers about uniques."""

from pydantic import BaseModel, ConfigDict, Field

from evenkeel.http.readable import READABLE

LONGEST_MEMBER = 4096
"""Characters."""


class AddMember(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"member": "ada@example.com"}]})

    member: str = Field(
        min_length=1,
        max_length=LONGEST_MEMBER,
        pattern=READABLE,
        description="what is counted once, such as an e-mail address; not blank, without control characters and "
        "bidirectional overrides. It is hashed under a secret key before it leaves the replica, and never logged",
    )


class UniqueCount(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "visitors", "value": 1234, "approximate": True, "error": 0.0081}]}
    )

    name: str
    value: int = Field(description="different members so far")
    approximate: bool
    error: float = Field(
        description="standard error relative to the value; two thirds of all estimates are closer than this"
    )
