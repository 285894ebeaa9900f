"""Thousands of requests, made up from the OpenAPI documents, are answered as the documents say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))

# Without QUERY, which the gateway does not know: a 501 is right there, and a server's error to schemathesis. And
# without header fields that nobody knows: they are ignored, which schemathesis takes for a fault beside an integer.
CONFIG = """
[phases.coverage]
unexpected-methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]

[generation]
allow-extra-parameters = false
"""

EXAMPLES = {"user-api": 300, "counter-api": 50}
"""Of each operation and each phase; the coverage phase makes as many requests as there are edge cases."""

CASES = 1000
"""At least that many for each service."""

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "header_fields_are_declared",
)


@pytest.mark.slow
@pytest.mark.parametrize("service", EXAMPLES)
def test_every_answer_is_as_documented(gateway: str, service: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    ended = subprocess.run(
        [
            *(
                SCHEMATHESIS,
                "--no-color",
                "--config-file",
                str(config),
                "run",
                f"{gateway}/openapi/{service}.json",
                "--url",
                gateway,
            ),
            # Event streams have no end.
            *("--exclude-path-regex", "/events$"),
            *("--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES[service])),
            *("--generation-deterministic", "--no-shrink", "--continue-on-failure", "--warnings", "off"),
            *("--report-json-path", str(report)),
        ],
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.support.openapi_hooks"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    cases = json.loads(report.read_text())["test_cases"]
    assert cases["generated"] >= CASES
    assert cases["errored"] == cases["without_checks"] == 0
