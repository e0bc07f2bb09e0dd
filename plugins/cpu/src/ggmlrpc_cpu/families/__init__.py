"""Which steps compute a node: one module per kernel family; imports no numba."""
