"""The commands of the guide do what its pages say."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack.layout import free_port

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
STEPS = GUIDE / "steps"
CHAPTERS = sorted(path.name for path in GUIDE.glob("[0-9]*.md"))
STACK = str(Path(sys.executable).with_name("stack"))

FENCE = re.compile(r'^```(\w*)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
LONGEST = 120
"""Seconds for one command."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    kind: str
    title: str
    text: str

    def commands(self) -> Iterator[tuple[str, str]]:
        """The commands of a console, each with the output that the page shows. A backslash continues a command."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, output = re.split(r"(?<!\\)\n", part, maxsplit=1)
            yield command, output


def blocks(page: str) -> list[Block]:
    return [Block(*found.groups("")) for found in FENCE.finditer((GUIDE / page).read_text())]


def matches(shown: str, output: str) -> bool:
    """Whether the output is what the page shows. `…` stands for any text of one line."""
    pattern = "[^\n]*?".join(map(re.escape, shown.split("…")))
    return re.fullmatch(pattern, output) is not None


class Shell:
    """A bash that has read the guide's environment, as a reader's."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, command: str) -> str:
        """What the command writes. It must succeed."""
        assert self._process.stdin
        assert self._process.stdout
        limit = threading.Timer(LONGEST, os.killpg, (self._process.pid, signal.SIGKILL))
        limit.start()
        self._process.stdin.write(f'{command}\nprintf "\\n\\x00%s\\n" $?\n')
        self._process.stdin.flush()
        lines: list[str] = []
        while not (line := self._process.stdout.readline()).startswith("\x00"):
            assert line, f"the shell has ended at: {command}\n{''.join(lines)}"
            lines.append(line)
        limit.cancel()
        output = "".join(lines).removesuffix("\n")
        assert line == "\x000\n", f"$ {command}\n{output}(exit status {line[1:-1]})"
        return output if output.endswith("\n") or not output else f"{output}\n"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A stack as `make up` makes it. Gives the variables that lead the guide's commands to it."""
    variables = {"STACK_DIRECTORY": str(tmp_path_factory.mktemp("guide")), "PORT": str(free_port())}
    environment = os.environ | variables
    try:
        subprocess.run([STACK, "up"], env=environment, check=True, capture_output=True, timeout=180)
        yield environment | {"TUTORIAL_PORT": str(free_port())}
    finally:
        subprocess.run([STACK, "down"], env=environment, check=True, capture_output=True, timeout=180)


@contextlib.contextmanager
def bash(environment: Mapping[str, str]) -> Iterator[Shell]:
    with subprocess.Popen(
        ["/bin/bash"],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Shell(process)
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.communicate("stop\n", timeout=LONGEST)


@pytest.fixture(scope="session")
def shell(stack: dict[str, str]) -> Iterator[Shell]:
    with bash(stack) as shell:
        assert shell.run("source docs/guide/environment.sh") == ""
        yield shell


def run(page: str, shell: Shell, title: str | None = None) -> None:
    """Run the commands of a page, or of its blocks with this title, and compare."""
    for block in blocks(page):
        if block.kind == "console" and title in {None, block.title}:
            for command, shown in block.commands():
                output = shell.run(command)
                assert matches(shown, output), f"$ {command}\n{output}--- the page shows:\n{shown}"


@pytest.mark.slow
@pytest.mark.parametrize("page", ["index.md", *CHAPTERS])
def test_commands_do_what_the_page_says(page: str, shell: Shell) -> None:
    try:
        run(page, shell)
    finally:
        # A page that fails may have stopped a server, which the next pages need.
        shell.run('[ -z "${redis:-}" ] || kill -CONT $redis')


@pytest.mark.slow
def test_workers_count_for_themselves_without_a_stack(tmp_path: Path) -> None:
    with bash(os.environ | {"STACK_DIRECTORY": str(tmp_path), "TUTORIAL_PORT": str(free_port())}) as shell:
        assert shell.run("source docs/guide/environment.sh").startswith("The stack is not running: `make up`")
        run("02_workers.md", shell, "The failure")


def test_a_reader_sees_what_the_page_shows_and_no_job_numbers(tmp_path: Path) -> None:
    """A bash for a person announces what runs in the background, a bash for a script does not."""
    environment_read = "source docs/guide/environment.sh 2> /dev/null; exec 2>&1"
    commands = f"{environment_read}; serve 01_counter; curl -s $TUTORIAL/counter; stop"
    environment = os.environ | {"STACK_DIRECTORY": str(tmp_path), "TUTORIAL_PORT": str(free_port())}
    process = subprocess.run(
        ["/bin/bash", "--norc", "-ic", commands],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it complains that it has no terminal
        text=True,
        start_new_session=True,
        timeout=LONGEST,
        check=True,
    )
    assert process.stdout == '{"current_count":1}'


@pytest.mark.parametrize("page", CHAPTERS)
def test_programs_are_shown_as_they_are(page: str) -> None:
    programs = [block for block in blocks(page) if block.kind == "python"]
    assert programs or page == CHAPTERS[-1]
    for program in programs:
        assert program.text == (ROOT / program.title).read_text()


@pytest.mark.parametrize("page", CHAPTERS[:10])
def test_chapters_have_a_short_program_its_failure_and_what_removes_it(page: str) -> None:
    text = (GUIDE / page).read_text()
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == [
        "The program",
        "How it fails",
        "What removes it",
        "The same on Evenkeel",
    ]
    program = (STEPS / page.removesuffix(".md") / "app.py").read_text()
    assert len(program.splitlines()) <= 40
    titles = [block.title for block in blocks(page) if block.kind == "console"]
    assert sorted(set(titles)) == ["The failure", "The same on Evenkeel"]
    assert titles == sorted(titles)


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_command_that_shows_something_shows_more_than_what_varies(page: str) -> None:
    """A failure passes only if it was seen: the last output of each block has text that must be there."""
    for block in blocks(page):
        shown = [output for _, output in block.commands() if output] if block.kind == "console" else ["text"]
        assert shown
        assert all(output.replace("…", "").strip() for output in shown)


def test_each_program_has_a_chapter() -> None:
    programs = sorted(path.parent.name for path in STEPS.glob("*/app.py"))
    assert [f"{name}.md" for name in programs] == CHAPTERS[:-1]
    index = (GUIDE / "index.md").read_text()
    assert [page for page in CHAPTERS if f"]({page})" not in index] == []


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        ("201\n", "201\n", True),
        ("201\n", "500\n", False),
        ('{"id":…,"name":"Ada",…}\n', '{"id":7,"name":"Ada","version":1}\n', True),
        ('{"id":…,"name":"Ada",…}\n', '{"id":7,"name":"Grace","version":1}\n', False),
        ("…\n", "one\ntwo\n", False),
        ("", "unexpected\n", False),
    ],
)
def test_what_differs_from_run_to_run_is_written_as_dots(shown: str, output: str, *, same: bool) -> None:
    assert matches(shown, output) is same


@pytest.mark.slow  # needs the stack
def test_environment_has_the_addresses_of_the_stack(stack: dict[str, str], shell: Shell) -> None:
    status = json.loads(subprocess.run([STACK, "status", "--json"], env=stack, check=True, capture_output=True).stdout)
    assert shell.run("echo $EVENKEEL") == f"{status['gateway']}\n"
    assert (
        shell.run("pids counter-api")
        == " ".join(str(process["pid"]) for process in status["processes"] if process["service"] == "counter-api")
        + "\n"
    )
