import pytest
from tests.support import chromium


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    how = f"tested with {chromium.PROGRAM}" if chromium.PROGRAM else "not tested: chromium is not installed"
    terminalreporter.write_line(f"The gateway before web pages was {how}")
