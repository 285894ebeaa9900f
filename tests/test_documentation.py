"""The names in the documentation exist: targets, commands with their flags, services, settings, metrics, files."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

import counter_api.settings
import stack.cli
import user_api.settings
import verify.cli
from stack.options import ENVIRONMENT

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "libs/evenkeel/README.md")),
        *(ROOT / name for name in ("gateway/README.md", "deploy/k8s/README.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
    )
}
OPERATIONS = PAGES["docs/operations.md"]

PREFIXED = re.compile(r"\b(?:USER_API|COUNTER_API|GATEWAY|STACK)_[A-Z_]+")
METRIC = re.compile(r"\b(?:cache|counter|database|http)_[a-z_]+")


def _code(page: str) -> Iterator[str]:
    """Lines of code blocks, and text between backticks."""
    outside = []
    for number, part in enumerate(re.split(r"^```.*$", page, flags=re.MULTILINE)):
        if number % 2:
            yield from (line.removeprefix("$ ") for line in re.sub(r" \\\n *", " ", part).splitlines())
        else:
            outside.append(part)
    yield from re.findall(r"`([^`\n]+)`", "\n".join(outside))


def _everywhere(pattern: str) -> set[str]:
    """All matches of the group in the code of all pages."""
    return {found for page in PAGES.values() for code in _code(page) for found in re.findall(pattern, code)}


def test_make_targets() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = _everywhere(r"(?:^|[ (])make (?:-s )?([a-z][a-z0-9-]*)")
    assert {"up", "images", "token"} <= named
    assert named <= targets


def _lines(program: str) -> list[str]:
    lines = _everywhere(rf"(?:^|[ (])(?:\.venv/bin/)?{program}( [a-z].*)")
    return sorted(line for line in lines if not line.startswith(" up/"))


@pytest.mark.parametrize("line", _lines("stack"))
def test_stack_commands(line: str) -> None:
    """Each command is parsed up to its end, as the program would parse it."""
    _parse(stack.cli.main, line)


@pytest.mark.parametrize("line", _lines("verify"))
def test_verify_commands(line: str) -> None:
    _parse(verify.cli.main, line)


def _parse(program: click.Group, line: str) -> None:
    words = shlex.split(re.split(r"[|)]", line)[0], comments=True)
    context = program.make_context(program.name, words)
    name, command, rest = program.resolve_command(context, [*context._protected_args, *context.args])
    assert command is not None
    command.make_context(name, rest, parent=context)


def test_settings() -> None:
    known = {
        *(f"USER_API_{name.upper()}" for name in user_api.settings.Settings.model_fields),
        *(f"COUNTER_API_{name.upper()}" for name in counter_api.settings.Settings.model_fields),
        *ENVIRONMENT.values(),
        "STACK_DIRECTORY",
        *re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()),
    }
    named = {name for page in PAGES.values() for name in PREFIXED.findall(page)}
    assert {"USER_API_CACHE_KEYS", "COUNTER_API_REPLICA_ACKS", "GATEWAY_ACCESS"} <= named
    # `COUNTER_API_SERIES_RETENTION_…` stands for several settings.
    known |= {name for name in named if name.endswith("_") and any(each.startswith(name) for each in known)}
    assert named - known == set()


def test_services_of_compose() -> None:
    services = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])
    named = _everywhere(r"docker compose (?:exec|run|stop|start|logs)(?: --entrypoint \w+| -\S+(?: \d+)?)* ([a-z-]+)")
    assert {"postgres", "redis-counters", "gateway"} <= named
    assert named <= services


def test_metrics() -> None:
    """By the names in the code. The client library appends `_total` to the names of counters."""
    sources = "".join(path.read_text() for path in ROOT.glob("*/*/src/**/*.py"))
    named = {name.removesuffix("_total") for code in _code(OPERATIONS) for name in METRIC.findall(code)}
    assert {"cache_relay_lag_seconds", "counter_redis_errors"} <= named
    assert [name for name in sorted(named) if f'"{name}"' not in sources] == []


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]*(?:#[^)]*)?)\)", PAGES[page]):
        address, _, heading = target.partition("#")
        path = (ROOT / page).parent / address if address else ROOT / page
        assert path.exists(), target
        if heading:
            assert heading in _anchors(path.read_text()), target


def test_every_page_is_linked() -> None:
    """From another page, so that a reader who starts at the README can find it."""
    linked = {
        ((ROOT / page).parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+)[)#]", PAGES[page])
    }
    assert [page for page in PAGES if page != "README.md" and ROOT / page not in linked] == []


def _anchors(page: str) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}
