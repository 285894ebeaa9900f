"""`verify disruptions`: its options, and its output."""

import click

from stack.console import pass_layout
from stack.errors import UsageError
from stack.layout import Layout
from verify import progress
from verify.disruptions.cluster import Cluster
from verify.disruptions.job import Job
from verify.disruptions.kubectl import Kubectl
from verify.disruptions.report import REPORT
from verify.disruptions.verification import verify


@click.command("disruptions")
@click.option(
    "--context", default="", help="The cluster, as `kubectl config get-contexts` names it. There is no default."
)
@click.option("--namespace", default="evenkeel", help="Where the installation is (evenkeel).")
@click.option("--node", metavar="NAME", help="Drain this node as well. Without it no node is touched.")
@click.option("--image", default="evenkeel/verify:dev", help="The image of the load (evenkeel/verify:dev).")
@click.option("--faults", metavar="NAME,…", help="What is done, in this order; default: everything possible.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@pass_layout
def command(
    layout: Layout,
    /,
    *,
    context: str,
    namespace: str,
    node: str | None,
    image: str,
    faults: str | None,
    as_json: bool,
) -> int:
    """Disturb an installation on Kubernetes while it is used, and count what its clients see.

    The exit status is 1 if a write was lost or doubled, or if the installation did not recover.
    """
    if not context:
        raise UsageError("no context is named, and this deletes pods: --context NAME (make k8s-test CONTEXT=NAME)")
    kubectl = Kubectl(context, namespace)
    job = Job(kubectl, layout.repository / "deploy" / "k8s" / "disruptions", image, node or None)
    with progress.shown(REPORT.command) as announce:
        tallies = verify(Cluster(kubectl), job, faults.split(",") if faults else None, announce)
    return REPORT.print(tallies, as_json=as_json)
