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


async def test_a_wrong_line_in_a_long_file_is_named_and_the_next_import_goes_on_after_it(
    stack: "Stack", client: httpx.AsyncClient, name: str, tmp_path: Path
) -> None:
    """The answer comes while the rest of the file, which is larger than what the sockets hold, is still to be sent."""
    file, rest = tmp_path / "counters.ndjson", _lines(name, 1000, 700) + "\n" * 16_000_000
    file.write_text(_lines(name, 700) + '{"name": "b c", "value": 1}\n' + rest)
    reason = r"stack: Line 701: name: .*\. 700 counters were set before; to go on where the import was, add --key (\w+)"
    with pytest.raises(AssertionError, match=reason) as failed:
        stack.run("import", str(file))
    [key] = re.findall(reason, str(failed.value))
    await client.post(f"/v1/counters/{name}:000001/increment")
    file.write_text(_lines(name, 1000))
    assert stack.run("import", str(file), "--key", key) == "imported 1,000 counters\n"
    read = await client.get(f"/v1/counters/{name}:000001")
    assert read.json()["value"] == 2, "counts between the attempts are kept"
    assert (await client.get(f"/v1/counters/{name}:000999")).json()["value"] == 999
