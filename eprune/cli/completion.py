"""``eprune completion``: print a shell's completion script."""

from __future__ import annotations

import click

#: What a shell asks by.
VARIABLE = "_EPRUNE_COMPLETE"


@click.command("completion", short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes eprune's command lines in a shell: bash, zsh or fish.

    Commands, options and their choices are completed, names of files and folders, and what the files on the line name:
    actors and their parameters, platforms, partition points.

    \b
    Examples:
      eprune completion bash >> ~/.bashrc
      eprune completion zsh >> ~/.zshrc
      eprune completion fish > ~/.config/fish/completions/eprune.fish
    """
    from click.shell_completion import get_completion_class

    from eprune.cli.shells import register

    register()
    completion = get_completion_class(shell)
    assert completion is not None  # the choices are those that are registered
    click.echo(completion(ctx.find_root().command, {}, "eprune", VARIABLE).source(), nl=False)
