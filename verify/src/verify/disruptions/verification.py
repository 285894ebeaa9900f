"""One verification: one disruption after the other, while the Job in the cluster sends requests."""

from collections.abc import Mapping, Sequence

from stack.errors import UsageError
from verify.disruptions import faults
from verify.disruptions.cluster import Cluster
from verify.disruptions.faults import Fault
from verify.disruptions.job import Job
from verify.disruptions.tally import DisruptionTally
from verify.progress import Announce


def verify(cluster: Cluster, job: Job, wanted: Sequence[str] | None, announce: Announce) -> list[DisruptionTally]:
    """What clients have seen of each. It ends early if the installation does not recover. The Job is deleted."""
    chosen = _chosen(wanted, faults.of(cluster.workloads(), job.node))
    if job.node:
        cluster.kubectl("get", f"node/{job.node}", "--output", "name")  # now, and not when its turn comes
    cluster.until_well()
    tallies: list[DisruptionTally] = []
    with job.running():
        for number, (name, fault) in enumerate(chosen.items()):
            announce(name, number, len(chosen))
            tallies.append(_disrupted(name, fault, cluster, job))
            if tallies[-1].failure:
                break
    return tallies


def _chosen(wanted: Sequence[str] | None, possible: Mapping[str, Fault]) -> Mapping[str, Fault]:
    if wanted is None:
        return possible
    for name in wanted:
        if name not in possible:
            raise UsageError(f"--faults: {name!r} is not possible there; choose from {', '.join(possible)}")
    return {name: possible[name] for name in wanted}


def _disrupted(name: str, fault: Fault, cluster: Cluster, job: Job) -> DisruptionTally:
    tally = DisruptionTally(name)
    with tally.injecting():
        # The log's own time, because this machine's clock may differ from the cluster's.
        second = job.lines()[-1]["second"]
        fault.inject(cluster)
        cluster.until_well()
        tally.between(job.lines(), second)
    return tally
