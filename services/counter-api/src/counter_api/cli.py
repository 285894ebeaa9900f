"""The command `counter-api`."""

import argparse

from counter_api.main import create_app
from counter_api.settings import Settings
from evenkeel.service import server
from evenkeel.service.settings import load


def main() -> None:
    """Serve; a wrong argument or setting ends the process with status 2."""
    parser = argparse.ArgumentParser(
        prog="counter-api", description="Counters that stay exact over any number of replicas.", epilog=_settings()
    )
    parser.add_argument(
        "command", nargs="?", choices=["serve"], default="serve", help="serve (the default): until SIGTERM"
    )
    parser.parse_args()
    settings = load(Settings)
    server.serve(create_app(settings), settings)


def _settings() -> str:
    prefix = Settings.model_config["env_prefix"]
    return f"Settings come from the environment: {', '.join(prefix + name.upper() for name in Settings.model_fields)}."
