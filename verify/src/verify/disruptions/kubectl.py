"""Calls of kubectl, all for one context and one namespace."""

import subprocess

from stack.errors import StackError

PATIENCE = 60.0
"""Seconds that a call may take, unless it waits for something."""


class Kubectl:
    def __init__(self, context: str, namespace: str) -> None:
        self.context = context
        self.namespace = namespace

    def __call__(self, *arguments: str, stdin: str | None = None, patience: float = PATIENCE) -> str:
        """Return what it prints. Raises StackError if it fails."""
        command = ["kubectl", "--context", self.context, "--namespace", self.namespace, *arguments]
        what = " ".join(["kubectl", *arguments])
        try:
            ended = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=patience)
        except FileNotFoundError:
            raise StackError("kubectl is not installed") from None
        except subprocess.TimeoutExpired:
            raise StackError(f"{what}: no end after {patience:g} s") from None
        if ended.returncode:
            raise StackError(f"{what}: {' '.join(ended.stderr.split())}")
        return ended.stdout
