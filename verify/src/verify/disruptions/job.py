"""The Job that sends the requests, and the log in which it counts them."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from stack.errors import StackError
from verify.disruptions.kubectl import Kubectl

NAME = "verify-disruptions"
STARTED_WITHIN = 180.0
"""Seconds for scheduling the pod, pulling its image, and its first line."""

DELETED_WITHIN = 120
"""Seconds. It first deletes its users and counters."""

LOOK = 1.0

Line = dict[str, Any]
"""As `Seen.line` writes it."""


@dataclass(frozen=True)
class Job:
    kubectl: Kubectl
    manifests: Path
    """The folder of the kustomization."""
    image: str
    node: str | None
    """On which it must not run."""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Raises StackError if there is one already, or if it does not start."""
        if self.kubectl("get", f"job/{NAME}", "--ignore-not-found", "--output", "name").strip():
            raise StackError(f"the Job {NAME} is there already: another verification runs, or was ended by force")
        try:
            self.kubectl("apply", "--filename", "-", stdin=json.dumps(self._objects()))
            self._until_started()
            yield
        finally:
            self._delete()

    def lines(self) -> list[Line]:
        """All that it has written. Raises StackError if it has ended, or not begun."""
        lines = self.kubectl("logs", f"job/{NAME}").splitlines()
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            raise StackError(f"the load has ended: {lines[-1]}") from None

    def _delete(self) -> None:
        """What cannot be deleted is only named: the results are worth more."""
        # First the Job alone: the policy lets it delete what it has made.
        gone = ("--ignore-not-found", f"--timeout={DELETED_WITHIN}s")
        try:
            self.kubectl("delete", f"job/{NAME}", "--cascade=foreground", *gone, patience=DELETED_WITHIN + 30)
            self.kubectl("delete", f"networkpolicy/{NAME}", f"serviceaccount/{NAME}", "--ignore-not-found")
        except StackError as error:
            click.echo(f"{NAME} is not deleted: {error}", err=True)

    def _objects(self) -> dict[str, Any]:
        rendered = self.kubectl("kustomize", str(self.manifests))
        objects: list[dict[str, Any]] = list(yaml.safe_load_all(rendered))
        for each in objects:
            each["metadata"]["namespace"] = self.kubectl.namespace
            if each["kind"] == "Job":
                pod = each["spec"]["template"]["spec"]
                pod["containers"][0]["image"] = self.image
                if self.node:
                    pod["affinity"] = {"nodeAffinity": _not_on(self.node)}
        return {"apiVersion": "v1", "kind": "List", "items": objects}

    def _until_started(self) -> None:
        until = time.monotonic() + STARTED_WITHIN
        why = "it has written nothing"
        while True:
            try:
                written = self.kubectl("logs", f"job/{NAME}")
            except StackError as error:  # no pod yet, or its container waits for its image
                written, why = "", str(error)
            if written:
                self.lines()
                return
            if time.monotonic() > until:
                raise StackError(f"the load has not started within {STARTED_WITHIN:g} s: {why}")
            time.sleep(LOOK)


def _not_on(node: str) -> dict[str, Any]:
    other = {"key": "metadata.name", "operator": "NotIn", "values": [node]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [other]}]}}
