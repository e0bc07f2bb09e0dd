"""The group of subcommands, exit codes and error lines.

Exit codes: 0 done, 1 the work failed, 2 wrong usage. An error is one line on stderr; `--debug` adds
the traceback. Importing this module must stay cheap: `ggmlrpc --help` is typed often.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence

import click

from ggmlrpc_core.cli.options import HELP
from ggmlrpc_core.errors import GgmlRpcError, LocalProtocolError

DONE, FAILED, WRONG_USAGE = 0, 1, 2

COMMANDS = {
    "serve": "Serve the devices of this machine to llama.cpp clients.",
    "devices": "Open each device and multiply two small matrices on it.",
    "top": "Watch a server that runs with --metrics.",
    "plugins": "List the plugins and their devices.",
    "dialects": "List the versions of the protocol.",
    "cache": "List, verify, prune and seed a hash cache.",
    "record": "Record the sessions of clients, as a proxy before a server.",
    "replay": "Replay a recording on a server and judge its answers.",
    "show": "Print the messages of a recording.",
    "scrub": "Take weights, prompts and names out of a recording.",
    "complete": "Write a server's answers into a recording as what is expected.",
}
"""Subcommand, which is also the module in this package, to its help in one line."""


class LazyGroup(click.Group):
    """Imports a subcommand's module when it runs, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a module; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"ggmlrpc_core.cli.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"ggmlrpc {version('ggmlrpc')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings=HELP,
    help="The ggml RPC protocol, the one that llama.cpp uses for --rpc.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Print the version and exit.",
)  # fmt: skip
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def group(ctx: click.Context, debug: bool) -> None:
    """Hold the options that all subcommands share."""
    ctx.obj = {"debug": debug}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit.

    Args:
        arguments: without the program's name; None for those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_run(words))


def _run(words: list[str]) -> int:
    try:
        code = group.main(args=words, prog_name="ggmlrpc", standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        return WRONG_USAGE
    except click.ClickException as exc:
        context = exc.ctx if isinstance(exc, click.UsageError) else None
        hint = f" (see: {context.command_path} --help)" if context else ""
        click.echo(f"ggmlrpc: {exc.format_message().rstrip('.')}{hint}", err=True)
        return WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        return FAILED
    except (GgmlRpcError, OSError) as exc:
        if "--debug" in words:
            traceback.print_exc()
        click.echo(f"ggmlrpc: {_sentence(exc)}", err=True)
        return WRONG_USAGE if isinstance(exc, LocalProtocolError) else FAILED


def _sentence(exc: Exception) -> str:
    """An error without Python's numbers and quotes."""
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
    return str(exc)
