"""A counter as a picture, a flat badge in SVG, for pages that can show nothing but pictures."""

from typing import Annotated, Literal
from xml.sax.saxutils import escape

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from counter_api.counters.parameters import Service
from counter_api.counters.schemas import IncrementRequest
from counter_api.parameters import NO_STORE, Name, strict_query
from counter_api.problems import CounterNotFound, CounterOverflow, NotACounter
from evenkeel.http.heads import is_head
from evenkeel.http.openapi import sends
from evenkeel.http.preconditions import untagged
from evenkeel.http.problems import InvalidInput, PreconditionFailed, Unavailable, responses

LONGEST_LABEL = 64
"""Characters."""

SVG = "image/svg+xml"

# A browser that opens the picture by itself runs no script in it, even if the escaping should fail.
_HEADERS = {**NO_STORE, "Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff"}

# Roughly, in 11 pixel Verdana. `textLength` makes the browser keep this width with any font.
_NARROW, _WIDE, _MIDDLE, _FOREIGN = 4, 10, 7, 11
_PADDING = 6


def _printable(text: str) -> str:
    # XML permits no control characters, not even escaped. Marks of direction would swap label and value.
    if not text.isprintable():
        raise ValueError("must be printable characters")
    if text.isspace():
        raise ValueError("must not be blank")
    return text


class BadgeQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    label: Annotated[str, AfterValidator(_printable)] | None = Field(
        None, max_length=LONGEST_LABEL, description="text beside the value; the counter's name if left out"
    )
    hit: Literal["true", "false"] = Field("false", description="`true`: count this visit first")
    v: str | None = Field(None, description="ignored; another value makes another address, which is in no cache")


router = APIRouter(tags=["counters"], dependencies=[Depends(strict_query), Depends(untagged)])


@router.get(
    "/v1/counters/{name}/badge.svg",
    summary="The value as a picture, which may count its own visits",
    description="A counter that does not exist shows 0. Only `hit=true` counts, and only with GET.",
    response_class=Response,
    responses={
        200: {
            "description": "the badge",
            "content": {SVG: {"schema": {"type": "string"}}},
            **sends("Content-Security-Policy", "X-Content-Type-Options"),
        },
        **responses(CounterOverflow, NotACounter, PreconditionFailed, InvalidInput, Unavailable),
    },
)
async def draw_badge(
    request: Request, counters: Service, name: Name, query: Annotated[BadgeQuery, Query()]
) -> Response:
    if query.hit == "true" and not is_head(request):
        value = (await counters.increment(name, IncrementRequest())).value
    else:
        try:
            value = await counters.value(name)
        except CounterNotFound:
            value = 0
    return Response(render(name if query.label is None else query.label, str(value)), headers=_HEADERS, media_type=SVG)


def render(label: str, value: str) -> str:
    """The badge; both texts may contain anything printable."""
    left, right = _width(label), _width(value)
    title = escape(f"{label}: {value}" if label else value)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img">'
        f"<title>{title}</title>"
        f'<rect width="{left}" height="20" fill="#555"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="#007ec6"/>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11">'
        f"{_text(label, 0, left)}{_text(value, left, right)}"
        "</g></svg>"
    )


def _text(text: str, begin: int, width: int) -> str:
    if not text:
        return ""
    return f'<text x="{begin + width / 2:g}" y="14" textLength="{width - 2 * _PADDING}">{escape(text)}</text>'


def _width(text: str) -> int:
    return sum(map(_character_width, text)) + 2 * _PADDING if text else 0


def _character_width(character: str) -> int:
    if not character.isascii():
        return _FOREIGN
    if character in "fijlrtI.,:;'|!()[] ":
        return _NARROW
    return _WIDE if character in "mwMWOQ@%&" else _MIDDLE
