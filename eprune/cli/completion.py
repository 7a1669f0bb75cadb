"""``eprune completion``: print a shell's completion script."""

from __future__ import annotations

import click


@click.command("completion", short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes eprune's commands and options in a shell.

    Example, for bash: eprune completion bash >> ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    assert completion is not None  # the choices are click's own
    click.echo(completion(ctx.find_root().command, {}, "eprune", "_EPRUNE_COMPLETE").source())
