"""Prometheus' own checker of configurations, rules and what they raise."""

import json
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROGRAM = shutil.which("promtool")
"""Its path; None if it is not installed."""

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/k8s/components/monitoring/alerts.yaml"
COMPOSE = ROOT / "deploy/observability/compose.yaml"

MINUTE = "60s"


def rules(directory: Path) -> Path:
    """The rules as compose's Prometheus gets them, by the very command that compose runs."""
    service: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["prometheus"]
    [shell, option, script] = service["entrypoint"]
    [command] = [line for line in script.splitlines() if line.startswith("sed ")]
    target = directory / "alerts.yaml"
    command = command.removesuffix(" &&").replace("$$", "$")
    command = command.replace("/etc/prometheus/evenkeel/alerts.yaml", str(ALERTS))
    command = command.replace("/tmp/alerts.yaml", str(target))  # noqa: S108 (the container's)
    subprocess.run([shell.removeprefix("/bin/"), option, command], check=True)
    return target


def run(*arguments: str | Path) -> str:
    """What promtool prints. AssertionError with it if it finds anything wrong."""
    assert PROGRAM is not None
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Case:
    """What is firing then, and nothing else."""

    series: Mapping[str, str]
    """Values by minute."""
    after: str
    alerts: Collection[str]


def judged(directory: Path, cases: Mapping[str, Case]) -> dict[str, str]:
    """What promtool found wrong with each case, by the case's name. One run, because each takes half a second."""
    assert PROGRAM is not None
    test = {
        "rule_files": [str(rules(directory))],
        "evaluation_interval": "15s",
        "tests": [_test(name, case) for name, case in cases.items()],
    }
    file = directory / "test.json"
    file.write_text(json.dumps(test))
    done = subprocess.run([PROGRAM, "test", "rules", file], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert ("SUCCESS" in output) == (done.returncode == 0), output
    wrong = {name: output for name in cases if f'# {name}", time:' in output}
    assert bool(wrong) == (done.returncode != 0), output
    return wrong


def raised(directory: Path, series: Mapping[str, str], *, after: str, alerts: Collection[str]) -> None:
    """AssertionError unless these alerts, and no others, are firing after this time."""
    assert judged(directory, {"raised": Case(series, after, alerts)}) == {}


def _test(name: str, case: Case) -> dict[str, Any]:
    expected = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(case.alerts)]
    # Whether an alert fires, not for how many replicas.
    question = 'group by (alertname) (ALERTS{alertstate="firing"})'
    # promtool prints the question if the answer is another one.
    question += f"  # {name}"
    return {
        "interval": MINUTE,
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "promql_expr_test": [{"expr": question, "eval_time": case.after, "exp_samples": expected}],
    }


def scraped(text: str, labels: Mapping[str, str], *, minutes: int) -> dict[str, str]:
    """The samples of a real /metrics as series that keep their values for so many minutes."""
    found = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        series, _, value = line.rpartition(" ")
        name, _, own = series.rstrip("}").partition("{")
        all_labels = [*filter(None, [own.rstrip(",")]), *(f'{key}="{text}"' for key, text in labels.items())]
        # promtool's notation has no infinities. No sample of ours needs one.
        found[f"{name}{{{','.join(all_labels)}}}"] = f"{float(value):.10g}x{minutes}"
    return found


def families(text: str) -> Iterable[str]:
    """The names of the families in a real /metrics, also of those that have no sample yet."""
    return [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
