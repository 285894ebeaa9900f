"""Tables, as text and on a terminal."""

import io

import pytest
from rich.console import Console

from stack.tables import Table

TABLE = Table(
    ("NAME", "STATE", "COUNT"),
    [("one", "well", "7"), ("[red]two", "ill", "1234 (5)")],
    lambda heading, cell: "red" if (heading, cell) == ("STATE", "ill") else "",
)


def _drawn(table: Table, *, width: int = 80, **environment: str) -> list[str]:
    output = io.StringIO()
    environment = {"TERM": "xterm"} | environment
    table.draw(Console(file=output, width=width, force_terminal=True, _environ=environment))
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_text_is_aligned() -> None:
    assert TABLE.text() == "NAME      STATE  COUNT\none       well   7\n[red]two  ill    1234 (5)"


def test_a_table_without_rows() -> None:
    assert Table(("NAME", "STATE"), []).text() == "NAME  STATE"
    assert len(_drawn(Table(("NAME", "STATE"), []))) == 2


def test_a_terminal_gets_colours_and_numbers_at_the_right() -> None:
    lines = _drawn(TABLE)
    assert "\x1b[31mill" in lines[3]
    assert [line.replace("\x1b[31m", "").replace("\x1b[0m", "") for line in lines[2:]] == [
        "one        well           7",
        "[red]two   ill     1234 (5)",
    ]


def test_no_color_is_respected() -> None:
    assert "\x1b[31m" not in "\n".join(_drawn(TABLE, NO_COLOR="1"))


def test_a_narrow_terminal_breaks_no_cell() -> None:
    assert _drawn(TABLE, width=10)[2:] == _drawn(TABLE, width=29)[2:]


def test_without_a_terminal_it_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    TABLE.show()
    assert capsys.readouterr().out == f"{TABLE.text()}\n"
