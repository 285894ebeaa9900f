"""What the images contain and run as, and that the checks of dependencies find what they are made for."""

import asyncio
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from supply_chain import audit, licences, sbom
from tests.support.fake_http import Answer, Request, answering

ROOT = Path(__file__).parents[2]
DOCKERFILES = {
    name: (ROOT / folder / name / "Dockerfile").read_text()
    for folder, name in (("services", "user-api"), ("services", "counter-api"), (".", "gateway"), (".", "verify"))
}
UNCONDITIONAL = re.compile(r"^([a-z0-9.-]+)==(\S+) \\$", re.MULTILINE)
"""A pin of a package that is installed on every system."""
LOCKS = {name: (ROOT / name).read_text() for name in (*audit.LOCKS, "bootstrap.lock")}
TOOLS = [
    str(lock.relative_to(ROOT))
    for lock in (*ROOT.glob("benchmarks/contestants/*/requirements.lock"), ROOT / "docs/requirements.lock")
]
"""Of programs that run in benchmarks alone, and of the documentation's site. Nothing ships them, so their licences and
advisories are not checked.
"""


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=DOCKERFILES)
def test_every_base_can_be_pinned_from_outside(dockerfile: str) -> None:
    before, _, _ = dockerfile.partition("\nFROM ")
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", before, re.MULTILINE))
    assert arguments
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert {base.strip("${}") for base in bases} == arguments.keys()
    assert all(base.startswith("${") for base in bases)
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.MULTILINE))
    assert set(re.findall(r"--from=(\S+)", dockerfile)) <= stages


@pytest.mark.parametrize("dockerfile", DOCKERFILES.values(), ids=DOCKERFILES)
def test_images_run_one_program_and_not_as_root(dockerfile: str) -> None:
    """By a number, so that Kubernetes can check that it is not root, and without a shell."""
    last = dockerfile[dockerfile.rindex("\nFROM ") :]
    users = re.findall(r"^USER (\S+)$", last, re.MULTILINE)
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)
    assert users
    for instruction in ("ENTRYPOINT", "CMD"):
        (words,) = re.findall(rf"^{instruction} ((?:.*\\\n)*.*)$", last, re.MULTILINE)
        assert "sh" not in json.loads(words.replace("\\\n", ""))
    # The commands that make the final image need no shell either.
    assert all(command.startswith("[") for command in re.findall(r"^RUN (.*)$", last, re.MULTILINE))


def test_services_are_asked_for_their_health_without_a_shell() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name in ("user-api", "counter-api"):
        assert compose["services"][name]["healthcheck"]["test"][:2] == ["CMD", "python"]


@pytest.mark.parametrize("name", [*LOCKS, *TOOLS])
def test_pins_have_hashes_and_no_address(name: str) -> None:
    lock = (ROOT / name).read_text()
    pins = re.findall(r"^[^\s#].*(?:\n    .*)*", lock, re.MULTILINE)
    assert pins
    assert all(re.match(r"[a-z0-9.-]+==[^\s;]+( ; .+)? \\\n    --hash=sha256:", pin) for pin in pins)
    assert "://" not in lock


def _required(project: str, extras: set[str]) -> set[str]:
    """The distributions that a project of this repository needs, those of the library's extras included."""
    about = tomllib.loads((ROOT / project / "pyproject.toml").read_text())["project"]
    named = [*about["dependencies"], *(each for extra in extras for each in about["optional-dependencies"][extra])]
    found = set()
    for requirement in map(Requirement, named):
        if requirement.name == "evenkeel-state":
            found |= _required("libs/evenkeel", requirement.extras)
        else:
            found.add(canonicalize_name(requirement.name))
    return found


@pytest.mark.parametrize("service", ["user-api", "counter-api"])
def test_a_services_lock_has_what_its_projects_name(service: str) -> None:
    required = _required(f"services/{service}", set())
    assert {"redis", "fastapi", "uvicorn"} < required
    assert required <= licences.pinned(ROOT / "services" / service / "requirements.lock")


def test_the_list_of_licences_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert licences.main(check=True) == 0, capsys.readouterr().out


def test_an_old_list_of_licences_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "licences.md"
    old.write_text(licences.LIST.read_text().replace("| anyio | MIT |", "| anyio | ISC |"))
    monkeypatch.setattr(licences, "ROOT", tmp_path)
    monkeypatch.setattr(licences, "LIST", old)
    for lock in audit.LOCKS:
        (tmp_path / lock).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / lock).write_text(LOCKS[lock])
    assert licences.main(check=True) == 1
    assert capsys.readouterr().out == "licences.md is out of date: make licences\n"
    assert licences.main(check=False) == 0
    assert licences.main(check=True) == 0
    (tmp_path / "requirements.lock").write_text(LOCKS["requirements.lock"] + "nowhere-to-be-found==1.0\n")
    assert licences.main(check=True) == 1
    assert capsys.readouterr().out == "nowhere-to-be-found is not installed here; state its licence\n"


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"License-Expression": "MIT AND PSF-2.0"}, "MIT AND PSF-2.0"),
        ({"License": "BSD-3-Clause"}, "BSD-3-Clause"),
        ({"Classifier": "License :: OSI Approved :: Apache Software License"}, "Apache-2.0"),
        ({"License-Expression": "GPL-3.0-only"}, "GPL-3.0-only"),
        ({"License": "do what you like"}, None),
        ({}, None),
    ],
)
def test_licences_are_read_from_metadata(
    fields: dict[str, str], found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "example_package-1.0.dist-info"
    folder.mkdir()
    text = {"Metadata-Version": "2.4", "Name": "example-package", "Version": "1.0"} | fields
    (folder / "METADATA").write_text("".join(f"{name}: {value}\n" for name, value in text.items()))
    monkeypatch.syspath_prepend(tmp_path)
    if found is None:
        with pytest.raises(licences.Unknown, match="example-package"):
            licences.licence("example-package")
    else:
        assert licences.licence("example-package") == found
    permissive = found is not None and "GPL" not in found
    assert (list(licences.refused({"example-package"})) == []) is permissive


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("MIT AND PSF-2.0", True),
        ("GPL-2.0-only OR MIT", True),
        ("MIT AND GPL-2.0-only", False),
        ("LGPL-3.0-or-later", False),
        ("Apache-2.0 WITH LLVM-exception", False),
    ],
)
def test_one_choice_must_be_allowed_in_all_its_parts(expression: str, *, allowed: bool) -> None:
    assert licences.allowed(expression) is allowed


def test_every_image_that_is_run_is_listed_with_its_licence() -> None:
    listed = {server.image for server in licences.SERVERS}
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    run = {service["image"] for service in compose["services"].values()}
    for manifest in (ROOT / "deploy" / "k8s").rglob("*.yaml"):
        run |= set(re.findall(r"^\s*(?:- )?image: (\S+)$", manifest.read_text(), re.MULTILINE))
    bases = {base for text in DOCKERFILES.values() for base in re.findall(r"^ARG \w+=(\S+)$", text, re.MULTILINE)}
    names = {image.partition(":")[0] for image in run if not image.startswith("evenkeel/")}
    assert "redis" in names
    assert names | {base.partition(":")[0] for base in bases} <= {image.partition(":")[0] for image in listed}
    assert bases <= listed


def _audit(service: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "supply_chain" / "audit.py"), "--service", service]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_audit_asks_for_every_pin_and_fails_on_a_vulnerability() -> None:
    asked: set[tuple[str, str]] = set()
    vulnerable = ""

    def respond(request: Request) -> Answer:
        question: dict[str, Any] = request.document
        name = question["package"]["name"]
        asked.add((name, question["version"]))
        known = {"id": "PYSEC-2026-1", "summary": "an example", "affected": []}
        return Answer(200, {"vulns": [known]} if name == vulnerable else {})

    async with answering(respond) as url:
        clean = await asyncio.to_thread(_audit, url)
        assert (clean.returncode, clean.stdout) == (0, ""), clean.stderr
        pins = {
            pin for lock in audit.LOCKS for pin in re.findall(r"^([a-z0-9.-]+)==(\S+) \\$", LOCKS[lock], re.MULTILINE)
        }
        assert len(pins) > 100
        assert pins <= asked
        vulnerable = "starlette"
        found = await asyncio.to_thread(_audit, url)
        assert found.returncode == 1
        assert "PYSEC-2026-1" in found.stdout


@pytest.mark.anyio
async def test_the_audit_goes_on_where_nobody_can_be_asked() -> None:
    async with answering(lambda _: Answer(404, {})) as url:
        refused = await asyncio.to_thread(_audit, url)
    assert refused.returncode == 0
    assert refused.stdout == f"pip-audit: not run, {url} does not answer (HTTP Error 404: x)\n"
    gone = _audit(url)
    assert gone.returncode == 0
    assert gone.stdout.count("\n") == 1
    assert "Connection refused" in gone.stdout


@pytest.mark.slow
def test_bill_of_materials_lists_what_the_lock_pins_and_is_the_same_again(tmp_path: Path) -> None:
    files = [tmp_path / "once.json", tmp_path / "again.json"]
    for file in files:
        sbom.write("counter-api", file)
    assert files[0].read_bytes() == files[1].read_bytes()
    document = json.loads(files[0].read_text())
    assert (document["bomFormat"], document["metadata"]["component"]["name"]) == ("CycloneDX", "counter-api")
    lock = LOCKS["services/counter-api/requirements.lock"]
    components = {(canonicalize_name(component["name"]), component["version"]) for component in document["components"]}
    assert components == set(re.findall(r"^([a-z0-9.-]+)==(\S+)", lock, re.MULTILINE))
    assert all(component["licenses"] for component in document["components"])
