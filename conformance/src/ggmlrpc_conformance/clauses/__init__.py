"""The written specification: numbered clauses."""

from ggmlrpc_conformance.clauses.load import Clause, Page, clauses, pages

__all__ = ["Clause", "Page", "clauses", "pages"]
