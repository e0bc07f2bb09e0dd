"""`python -m ggmlrpc_core.cli`."""

from ggmlrpc_core.cli.main import main

if __name__ == "__main__":
    main()
