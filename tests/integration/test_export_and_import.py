"""The commands `stack export` and `stack import`, against a running stack."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

pytestmark = pytest.mark.anyio


def _lines(name: str, count: int, first: int = 0) -> str:
    return "".join(json.dumps({"name": f"{name}:{each:06}", "value": each}) + "\n" for each in range(first, count))


async def test_what_was_exported_can_be_imported(
    stack: "Stack", client: httpx.AsyncClient, name: str, tmp_path: Path
) -> None:
    for value in (-(2**63), 2**63 - 1):
        await client.put(f"/v1/counters/{name}:{value % 7}", json={"value": value})
    file = tmp_path / "counters.ndjson"
    assert stack.run("export", str(file), "--prefix", name) == f"exported 2 counters to {file}\n"
    assert stack.run("export", "-", "--prefix", name) == file.read_text()
    for line in file.read_text().splitlines():
        await client.delete(f"/v1/counters/{json.loads(line)['name']}")
    assert stack.run("import", str(file)) == "imported 2 counters\n"
    assert (await client.get(f"/v1/counters:export?prefix={name}")).text == file.read_text()


async def test_a_wrong_line_is_named_and_the_next_import_goes_on_after_it(
    stack: "Stack", client: httpx.AsyncClient, name: str, tmp_path: Path
) -> None:
    """The lines travel in several requests."""
    file = tmp_path / "counters.ndjson"
    file.write_text(_lines(name, 2700) + '{"name": "b c", "value": 1}\n' + _lines(name, 5000, 2700))
    reason = (
        r"stack: Line 2701: name: .*\. 2,700 counters were set before; to go on where the import was, add --key (\w+)"
    )
    with pytest.raises(AssertionError, match=reason) as failed:
        stack.run("import", str(file))
    [key] = re.findall(reason, str(failed.value))
    for number in (1, 2699):
        await client.post(f"/v1/counters/{name}:{number:06}/increment")
    file.write_text(_lines(name, 5000))
    assert stack.run("import", str(file), "--key", key) == "imported 5,000 counters\n"
    values = [(await client.get(f"/v1/counters/{name}:{number:06}")).json()["value"] for number in (1, 2699, 4999)]
    assert values == [2, 2700, 4999], "counts between the attempts are kept"
