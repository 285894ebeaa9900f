"""The command `counter-api`."""

import argparse
from typing import TYPE_CHECKING

from evenkeel.service.starting import quick_start

if TYPE_CHECKING:
    from counter_api.settings import Settings


def main() -> None:
    """Serve; a wrong argument or setting ends the process with status 2."""
    with quick_start():
        from counter_api.main import create_app  # noqa: PLC0415 (nothing large before this block)
        from counter_api.settings import Settings  # noqa: PLC0415
        from evenkeel.service import server  # noqa: PLC0415
        from evenkeel.service.settings import load  # noqa: PLC0415

        _parse(Settings)
        settings = load(Settings)
        server.serve(create_app(settings), settings)


def _parse(settings: "type[Settings]") -> None:
    parser = argparse.ArgumentParser(
        prog="counter-api",
        description="Counters that stay exact over any number of replicas.",
        epilog=_variables(settings),
    )
    parser.add_argument(
        "command", nargs="?", choices=["serve"], default="serve", help="serve (the default): until SIGTERM"
    )
    parser.parse_args()


def _variables(settings: "type[Settings]") -> str:
    prefix = settings.model_config["env_prefix"]
    return f"Settings come from the environment: {', '.join(prefix + name.upper() for name in settings.model_fields)}."
