"""ggmlrpc: the ggml RPC protocol in Python."""

__version__ = "0.1.0"
