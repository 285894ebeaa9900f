"""The command line."""

import click

from stack import console


class Verifiers(console.Program):
    """Imports only the verifier that is called. What all of them import takes half a second."""

    NAMES = ("cache", "counters", "disruptions")

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx  # there is no other context
        return list(self.NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx  # as above
        if cmd_name == "cache":
            from verify.cache.command import command  # noqa: PLC0415 (see the class)
        elif cmd_name == "counters":
            from verify.counters.command import command  # noqa: PLC0415
        elif cmd_name == "disruptions":
            from verify.disruptions.command import command  # noqa: PLC0415
        else:
            return None
        return command


@click.group("verify", cls=Verifiers)
@console.directory_option("The folder of the stack that is verified (STACK_DIRECTORY; default: .stack).")
def main(directory: str | None) -> None:
    """Check a deployment of Evenkeel while it is used and broken."""
    del directory  # pass_layout reads it
