"""The command `ggmlrpc-conformance`: what is done with results after a run. Runs themselves are pytest's."""

from __future__ import annotations

import click

from ggmlrpc_conformance.report.commands import COMMANDS


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Reports of the conformance suite of the ggml RPC protocol.

    The suite itself is run with: pytest --pyargs ggmlrpc_conformance --target host:50052 --report FOLDER
    """


for _command in COMMANDS:
    main.add_command(_command)

if __name__ == "__main__":
    main()
