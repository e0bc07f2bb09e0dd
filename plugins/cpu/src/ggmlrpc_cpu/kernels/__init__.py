"""Compiled kernels, one family per module; each registers itself by name (compile.py)."""
