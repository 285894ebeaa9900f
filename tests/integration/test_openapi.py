"""Thousands of requests are generated from the OpenAPI documents, and answered as the documents say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))

# Without the method QUERY: the gateway's 501 is right, but schemathesis takes it for a server's error. Without unknown
# header fields: they are ignored, which schemathesis takes for a fault.
CONFIG = """
[phases.coverage]
unexpected-methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]

[generation]
allow-extra-parameters = false
"""

EXAMPLES = {"user-api": 300, "counter-api": 50}
"""For each operation and each phase. The coverage phase sends as many requests as there are edge cases."""

CASES = 1000
"""The least number of requests to each service."""

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
