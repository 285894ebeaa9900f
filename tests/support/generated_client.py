"""A client that openapi-python-client makes of a service's document, and checks of every answer that it gets."""

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "docs" / "openapi-python-client.yaml"
TOOLS = Path(sys.executable).parent

UNDECLARED = {"date", "content-length", "content-type", "transfer-encoding", "connection"}
"""Header fields that belong to HTTP itself, and are not in the documents."""


class GeneratedClient:
    """Calls operations by their ids, and records the arguments.

    The document must declare each answer, its header fields, and the members of a problem.
    """

    def __init__(self, service: str, gateway: str, directory: Path) -> None:
        self._gateway = gateway
        self.document: dict[str, Any] = httpx.get(f"{gateway}/openapi/{service}.json").raise_for_status().json()
        self.package = _generated(service, gateway, directory)
        self.models: Any = importlib.import_module(f"{self.package.__name__}.models")
        self.file: Any = importlib.import_module(f"{self.package.__name__}.types").File
        self.client = self.package.Client(base_url=gateway, raise_on_unexpected_status=True)
        self.functions = dict(_functions(self.package))
        self.calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def __call__(self, operation: str, *arguments: Any, **named: Any) -> Any:
        """What the function returns."""
        self.calls[operation] = arguments, named
        answer = self.functions[operation].sync_detailed(*arguments, client=self.client, **named)
        self._check(operation, answer)
        return answer.parsed

    def from_a_foreign_page(self, operation: str) -> Any:
        """What the function returns if the gateway refuses a call that was made before."""
        arguments, named = self.calls[operation]
        for each in named.values():
            if isinstance(each, self.file):
                each.payload.seek(0)
        foreign = {"Origin": "https://foreign.example"}
        with self.package.Client(base_url=self._gateway, headers=foreign) as client:
            answer = self.functions[operation].sync_detailed(*arguments, client=client, **named)
        self._check(operation, answer)
        return answer.parsed

    def _check(self, operation: str, answer: Any) -> None:
        assert answer.parsed is not None or answer.status_code in {204, 304}
        assert answer.headers.keys() - UNDECLARED <= self._declared(operation, answer.status_code)
        if isinstance(answer.parsed, self.models.Problem):
            assert answer.parsed.status == answer.status_code
            assert answer.parsed.additional_properties == {}

    def _declared(self, operation: str, status: int) -> set[str]:
        for path in self.document["paths"].values():
            for each in path.values():
                if each["operationId"] == operation:
                    response = each["responses"][str(int(status))]
                    if "$ref" in response:
                        response = self.document["components"]["responses"][response["$ref"].rpartition("/")[2]]
                    return {name.lower() for name in response["headers"]}
        raise AssertionError(operation)


def _generated(service: str, gateway: str, directory: Path) -> ModuleType:
    """As in the documentation. A warning is an error."""
    name = service.replace("-", "_") + "_client"
    ended = subprocess.run(
        [
            *(TOOLS / "openapi-python-client", "generate", "--url", f"{gateway}/openapi/{service}.json"),
            *("--config", CONFIG, "--meta", "none", "--output-path", directory / name, "--fail-on-warning"),
        ],
        env=os.environ | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"},  # the folder that contains Ruff
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    assert "warning" not in said.lower(), said
    sys.path.insert(0, str(directory))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(directory))


def _functions(package: ModuleType) -> list[tuple[str, Any]]:
    """The module of each operation."""
    api = importlib.import_module(f"{package.__name__}.api")
    modules = pkgutil.walk_packages(api.__path__, prefix=f"{api.__name__}.")
    return [
        (module.name.rpartition(".")[2], importlib.import_module(module.name)) for module in modules if not module.ispkg
    ]
