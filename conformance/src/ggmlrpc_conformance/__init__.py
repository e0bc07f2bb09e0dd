"""Conformance suite of the ggml RPC protocol.

pytest --pyargs ggmlrpc_conformance --target host:50052
"""
