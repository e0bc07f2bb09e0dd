"""Facts of ggml as data: types, ops, unary and glu functions, and their numbers per dialect."""

from ggmlrpc_core.ggml.numbering import Numbering, numbering
from ggmlrpc_core.ggml.types import TYPES, GgmlType

__all__ = ["TYPES", "GgmlType", "Numbering", "numbering"]
