"""``eprune deploy``: programs onto the devices that the platform files name, and watched there."""

from __future__ import annotations

from typing import Optional

import click

from eprune.cli import deploy_doctor, deploy_up, deployed, replan

#: The subcommand that `eprune deploy SYSTEM` means.
DEFAULT = "up"


class Deploy(click.Group):
    """A group whose first subcommand may be left out."""

    #: what completes the words of a command line that names no subcommand
    default = DEFAULT

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[Optional[str], Optional[click.Command], list[str]]:
        """Find the subcommand; what is none is an argument of ``up``."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return DEFAULT, self.commands[DEFAULT], args


@click.group(
    "deploy",
    cls=Deploy,
    short_help="Put a system onto its devices, and watch it there.",
    context_settings={"ignore_unknown_options": True},
)
def command() -> None:
    """Put a system onto the devices that its platform files name (host="pi@192.168.1.20"), and watch it there.

    `eprune deploy SYSTEM` is `eprune deploy up SYSTEM`. SYSTEM is a folder that eprune has written, or an application
    with -p and -m. Devices are reached by OpenSSH, as your ssh configuration says; nothing of eprune is needed there.

    \b
    Examples:
      eprune deploy build/system --bootstrap
      eprune deploy app.xml -p platforms/ -m mappings/split/ --keys keys
      eprune deploy status build/system
      eprune deploy logs build/system -f
      eprune deploy rollback build/system
    """


for _each in (deploy_up.up, deploy_doctor.doctor, replan.replan, *deployed.COMMANDS):
    command.add_command(_each)
