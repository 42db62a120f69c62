"""Completion for shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(
    epilog="""\b
Examples:
  suanwang completion bash > /etc/bash_completion.d/suanwang
  suanwang completion zsh > "${fpath[1]}/_suanwang"
  suanwang completion fish > ~/.config/fish/completions/suanwang.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion is known for {shell}")
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "suanwang", "_SUANWANG_COMPLETE").source())
