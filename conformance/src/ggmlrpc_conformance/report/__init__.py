"""Reports of a run: headline, page and files."""

from ggmlrpc_conformance.report.difference import Difference, difference
from ggmlrpc_conformance.report.files import write_reports
from ggmlrpc_conformance.report.headline import headline, terminal_lines

__all__ = ["Difference", "difference", "headline", "terminal_lines", "write_reports"]
