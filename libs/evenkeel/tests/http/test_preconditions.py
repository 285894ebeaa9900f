from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import Depends, FastAPI

from evenkeel.http import problems
from evenkeel.http.preconditions import Preconditions, untagged
from evenkeel.http.problems import InvalidInput


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "held_by"),
    [
        (None, None, {"7", "8", None}),
        ("*", None, {"7", "8"}),
        ('"7"', None, {"7"}),
        ('W/"7"', None, set()),
        ('"7", , "8"', None, {"7", "8"}),
        (None, "*", {None}),
        (None, '"7"', {"8", None}),
        (None, 'W/"7"', {"8", None}),
        ('"7", "8"', '"8"', {"7"}),
        ("*", "*", set()),
    ],
)
def test_which_states_hold(if_match: str | None, if_none_match: str | None, held_by: set[str | None]) -> None:
    preconditions = Preconditions.parse(if_match, if_none_match)
    assert {state for state in ("7", "8", None) if preconditions.hold(state)} == held_by
    assert bool(preconditions) is (held_by != {"7", "8", None})


def test_states_that_are_numbers() -> None:
    assert Preconditions.parse('"7"', None).hold(7)
    assert not Preconditions.parse('"7"', None).hold(8)


def test_text_is_the_same_however_they_were_written() -> None:
    assert str(Preconditions.parse('"b","a"', None)) == str(Preconditions.parse(' "a" , ,"b"', None)) == '"a","b";'
    texts = {str(Preconditions.parse(*fields)) for fields in (('"a"', None), (None, '"a"'), ("*", None), (None, None))}
    assert len(texts) == 4


@pytest.mark.parametrize("header", ["7", ",", ""])
def test_what_is_no_list_is_refused(header: str) -> None:
    for fields in ((header, None), (None, header), ("*", header)):
        with pytest.raises(InvalidInput):
            Preconditions.parse(*fields)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.install(app)
    app.add_api_route("/", lambda: "done", methods=["GET", "POST", "DELETE"], dependencies=[Depends(untagged)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@pytest.mark.anyio
async def test_without_tags_a_change_is_refused_and_a_read_is_judged(client: httpx.AsyncClient) -> None:
    for name in ("If-Match", "If-None-Match"):
        for tags in ("*", '"1"', "1"):
            for method in ("POST", "DELETE"):
                assert (await client.request(method, "/", headers={name: tags})).status_code == 422
        assert (await client.get("/", headers={name: "*"})).json() == "done"
        assert (await client.get("/", headers={name: "1"})).status_code == 422
    assert (await client.get("/", headers={"If-Match": '"1"'})).status_code == 412
    assert (await client.get("/", headers={"If-None-Match": '"1"'})).json() == "done"
    assert (await client.post("/")).json() == "done"
