"""Says in every test run how the manifests were read: with kubectl, or without."""

import shutil

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    kubectl = shutil.which("kubectl")
    how = f"as files, and as rendered by {kubectl}" if kubectl else "as files only: kubectl is not installed"
    terminalreporter.write_line(f"Kubernetes manifests were checked {how}")
