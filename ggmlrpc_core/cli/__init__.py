"""The command `ggmlrpc`: one module per subcommand, imported when it is asked for."""

from ggmlrpc_core.cli.main import main

__all__ = ["main"]
