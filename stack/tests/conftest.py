import pytest
from tests import chromium


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without Chromium there is no browser to test with, which the end of the output tells."""
    if chromium.PROGRAM is None:
        needing = [item for item in items if item.path.name == "test_browser.py"]
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    how = f"tested with {chromium.PROGRAM}" if chromium.PROGRAM else "not tested: chromium is not installed"
    terminalreporter.write_line(f"The gateway before web pages was {how}")
