"""Which commands `verify disruptions` gives kubectl, whose place a script takes."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from verify.cli import main
from verify.disruptions import cluster, faults, job

ROOT = Path(__file__).parents[3]
SERVICES = ("user-api", "counter-api", "gateway")
DATA = ("postgres", "redis-cache", "redis-counters")
TO = "--context blue --namespace evenkeel"

START = ["get job/verify-disruptions --ignore-not-found --output name", f"kustomize {ROOT}/deploy/k8s/disruptions"]
START += ["apply --filename -"]
END = [
    "delete job/verify-disruptions --cascade=foreground --ignore-not-found --timeout=120s",
    "delete networkpolicy/verify-disruptions serviceaccount/verify-disruptions --ignore-not-found",
]

SCRIPT = """#!/bin/sh
echo "$*" >> "$HERE/calls"
case "$*" in
  *"--filename -") echo "$(cat)" >> "$HERE/stdin" ;;
esac
[ ! -e "$HERE/fails" ] || case "$*" in
  *$(cat "$HERE/fails")*) echo "Error from server: no" >&2; exit 1 ;;
esac
case "$*" in
  *"get job/"*) cat "$HERE/job" ;;
  *kustomize*) cat "$MANIFEST" ;;
  *"get deployments"*) cat "$HERE/objects" ;;
  *logs*)
    # one line more with each call
    count=$(wc -l < "$HERE/calls")
    sums='"failed": {}, "repeated": 0, "doubled": 0, "gap": 0.1, "examples": []'
    echo "{\\"second\\": $count, \\"requests\\": $((count * 10)), \\"lost\\": $((count * LOST)), $sums}" >> "$HERE/log"
    cat "$HERE/log"
    ;;
esac
"""


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": name}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None}]}
    return {"kind": "Pod", "metadata": {"name": f"{name}-0", "labels": labels, **metadata}, "status": status}


def workload(kind: str, name: str, replicas: int) -> dict[str, Any]:
    counts = {"replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas, "observedGeneration": 3}
    metadata = {"name": name, "generation": 3}
    return {"kind": kind, "metadata": metadata, "spec": {"replicas": replicas}, "status": counts}


INSTALLED = [
    *(workload("Deployment", name, 2) for name in SERVICES),
    *(pod(name) for name in SERVICES),
    {"kind": "Pod", "metadata": {"name": "other"}, "status": {"phase": "Pending"}},
]
WITH_DATA = [*INSTALLED, *(workload("StatefulSet", name, 1) for name in DATA), *(pod(name) for name in DATA)]


class Machine:
    """A PATH with this kubectl."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "kubectl").write_text(SCRIPT)
        (folder / "kubectl").chmod(0o755)
        self.has(WITH_DATA)
        self.set("job", "")

    def has(self, objects: list[dict[str, Any]]) -> None:
        self.set("objects", json.dumps({"items": objects}))

    def set(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)

    def verify(self, *arguments: str, context: str = "blue", lost: int = 0) -> Result:
        environment = {
            "PATH": f"{self._folder}:{os.environ['PATH']}",
            "HERE": str(self._folder),
            "LOST": str(lost),
            "MANIFEST": str(ROOT / "deploy/k8s/disruptions/load.yaml"),
        }
        return CliRunner().invoke(main, ["disruptions", "--context", context, *arguments], env=environment)

    @property
    def calls(self) -> list[str]:
        """Without those that only look. Each names the context."""
        path = self._folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        assert all(line.startswith(f"{TO} ") for line in lines)
        calls = [line.removeprefix(f"{TO} ") for line in lines]
        return [call for call in calls if not call.startswith(("logs job/", "get deployments,"))]

    @property
    def documents(self) -> list[Any]:
        """What was sent on standard input."""
        return [json.loads(line) for line in (self._folder / "stdin").read_text().splitlines()]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for module in (cluster, faults, job):
        monkeypatch.setattr(module, "LOOK", 0)
    monkeypatch.setattr(cluster, "QUIET", 0)
    monkeypatch.setattr(cluster, "WELL_WITHIN", 0)
    monkeypatch.setattr(faults, "EVICTED_WITHIN", 0)
    monkeypatch.setattr(job, "STARTED_WITHIN", 0)
    return Machine(tmp_path)


def _eviction(name: str) -> str:
    return f"create --raw /api/v1/namespaces/evenkeel/pods/{name}-0/eviction --filename -"


def test_everything_that_is_done_to_a_cluster(machine: Machine) -> None:
    ended = machine.verify()
    assert ended.exit_code == 0, ended.output
    done = [f"rollout restart deployment/{name}" for name in SERVICES]
    done += [f"scale deployment/{name} --replicas={count}" for name in SERVICES for count in (3, 2)]
    done += [_eviction(name) for name in SERVICES]
    done += [f"delete pod/{name}-0 --wait=false" for name in SERVICES]
    done += [f"delete pod/{name}-0 --wait=false --grace-period=0 --force" for name in SERVICES]
    done += [f"delete pod/{name}-0 --wait=false" for name in DATA]
    assert machine.calls == [*START, *done, *END]
    applied, *evictions = machine.documents
    assert [each["kind"] for each in applied["items"]] == ["ServiceAccount", "NetworkPolicy", "Job"]
    assert {each["metadata"]["namespace"] for each in applied["items"]} == {"evenkeel"}
    assert "affinity" not in applied["items"][2]["spec"]["template"]["spec"]
    assert evictions[0] == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "user-api-0", "namespace": "evenkeel"},
    }
    lines = ended.stdout.splitlines()
    headings = ["DISRUPTION", "SECONDS", "REQUESTS", "FAILED", "LOST", "DOUBLED", "LONGEST", "GAP"]
    assert lines[0].split() == headings
    assert [line.split()[0] for line in lines[1:20]] == [*faults.FAULTS]
    assert lines[2].split()[3:] == ["0", "0", "0", "0.10"]


def test_data_servers_that_are_elsewhere_are_left_alone(machine: Machine) -> None:
    machine.has(INSTALLED)
    assert machine.verify("--faults", "none,delete-gateway").exit_code == 0
    assert machine.calls == [*START, "delete pod/gateway-0 --wait=false", *END]
    refused = machine.verify("--faults", "delete-postgres")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("verify: --faults: 'delete-postgres' is not possible there; choose from none, ")


def test_only_a_node_that_is_named_is_drained_and_the_load_is_elsewhere(machine: Machine) -> None:
    refused = machine.verify("--faults", "drain-node")
    assert (refused.exit_code, machine.calls) == (2, [])
    ended = machine.verify("--node", "worker-1", "--faults", "drain-node", "--image", "example.com/verify:1")
    assert ended.exit_code == 0, ended.output
    drain = "drain worker-1 --ignore-daemonsets --delete-emptydir-data --timeout=600s"
    assert machine.calls == ["get node/worker-1 --output name", *START, drain, "uncordon worker-1", *END]
    spec = machine.documents[0]["items"][2]["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == "example.com/verify:1"
    ((term,),) = [
        each["matchFields"]
        for each in spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
    ]
    assert term == {"key": "metadata.name", "operator": "NotIn", "values": ["worker-1"]}


def test_without_a_context_nothing_is_called(machine: Machine) -> None:
    ended = machine.verify(context="")
    assert (ended.exit_code, ended.stdout, machine.calls) == (2, "", [])
    assert ended.stderr == (
        "verify: no context is named, and this deletes pods: --context NAME (make k8s-test CONTEXT=NAME)\n"
    )


@pytest.mark.parametrize(
    ("fails", "fault", "done"),
    [
        ("rollout", "rollout-gateway", ["rollout restart deployment/gateway"]),
        ("replicas=3", "scale-user-api", [f"scale deployment/user-api --replicas={count}" for count in (3, 2)]),
        ("eviction", "evict-gateway", [_eviction("gateway")]),
    ],
)
def test_what_fails_is_said_and_undone_and_ends_the_run(
    machine: Machine, fails: str, fault: str, done: list[str]
) -> None:
    machine.set("fails", fails)
    ended = machine.verify("--faults", f"{fault},delete-user-api")
    assert ended.exit_code == 1
    assert machine.calls == [*START, *done, *END]
    [problem] = [line for line in ended.stdout.splitlines() if line.startswith(f"{fault}: ")]
    assert problem == f"{fault}: the fault could not be injected: kubectl {done[0]}: Error from server: no"


def test_a_node_that_is_not_there_is_said_before_anything_is_done(machine: Machine) -> None:
    machine.set("fails", "node/worker-1")
    ended = machine.verify("--node", "worker-1")
    assert (ended.exit_code, machine.calls) == (1, ["get node/worker-1 --output name"])
    assert ended.stderr == "verify: kubectl get node/worker-1 --output name: Error from server: no\n"


def test_after_an_interruption_everything_is_undone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter([False, True])

    def until_well(_: cluster.Cluster) -> None:
        if next(waits):
            raise KeyboardInterrupt

    monkeypatch.setattr(cluster.Cluster, "until_well", until_well)
    assert machine.verify("--faults", "scale-gateway").exit_code == 130
    scaled = [f"scale deployment/gateway --replicas={count}" for count in (3, 2)]
    assert machine.calls == [*START, *scaled, *END]


def test_results_are_printed_even_if_the_job_cannot_be_deleted(machine: Machine) -> None:
    machine.set("fails", "delete job")
    ended = machine.verify("--faults", "none")
    assert ended.exit_code == 0
    assert ended.stdout.startswith("DISRUPTION")
    assert "verify-disruptions is not deleted: kubectl delete job/verify-disruptions" in ended.stderr


def test_a_drain_that_fails_is_undone(machine: Machine) -> None:
    machine.set("fails", "drain")
    assert machine.verify("--node", "worker-1", "--faults", "drain-node").exit_code == 1
    assert machine.calls[-3:] == ["uncordon worker-1", *END]


def test_lost_writes_are_exit_status_1(machine: Machine) -> None:
    ended = machine.verify("--faults", "none", lost=1)
    assert ended.exit_code == 1
    assert "none: 2 acknowledged writes are not in the values" in ended.stdout


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([], "namespace evenkeel of context blue has no Deployment user-api"),
        ([*INSTALLED, pod("gateway", deletionTimestamp="now")], "not ready within 0 s: Pod gateway-0"),
        (
            [*INSTALLED[1:], {**INSTALLED[0], "spec": {"replicas": 3}}],
            "not ready within 0 s: Deployment user-api",
        ),
    ],
)
def test_an_installation_that_is_not_well_is_left_alone(
    machine: Machine, objects: list[dict[str, Any]], message: str
) -> None:
    machine.has(objects)
    ended = machine.verify()
    assert (ended.exit_code, ended.stderr, machine.calls) == (1, f"verify: {message}\n", [])


def test_two_do_not_run_at_once(machine: Machine) -> None:
    machine.set("job", "job.batch/verify-disruptions\n")
    ended = machine.verify()
    assert (ended.exit_code, machine.calls) == (1, START[:1])
    assert "the Job verify-disruptions is there already" in ended.stderr


def test_a_load_that_does_not_start_is_deleted_again(machine: Machine) -> None:
    machine.set("fails", "logs")
    ended = machine.verify("--faults", "none")
    assert (ended.exit_code, machine.calls) == (1, [*START, *END])
    assert ended.stderr.splitlines()[-1] == (
        "verify: the load has not started within 0 s: kubectl logs job/verify-disruptions: Error from server: no"
    )
