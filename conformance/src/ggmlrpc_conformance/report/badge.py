"""A badge: one line as an SVG, without fonts or scripts from elsewhere."""

from __future__ import annotations

from xml.sax.saxutils import escape

from ggmlrpc_conformance.report.headline import Answer, headline
from ggmlrpc_conformance.report.tally import all_targets, of_level, of_target
from ggmlrpc_conformance.results import Level, Run

COLOURS = {
    Answer.YES: "#2a7d3c",
    Answer.PROBABLY: "#4d7a1f",
    Answer.PARTLY: "#a56a00",
    Answer.NO: "#b3261e",
    Answer.UNKNOWN: "#5c6570",
}
_CHARACTER = 6.6
"""Width of a character in pixels, on average, at 11 pixels."""


def badge(run: Run) -> str:
    """The badge of the first target."""
    target = all_targets(run)[0]
    answer = headline(run, target).answer
    musts = of_level(of_target(run, target), Level.MUST)
    value = f"{musts.good}/{musts.scored} MUST" if musts.scored else "nothing judged"
    if not run.info.complete:
        value += ", interrupted"
    versions = [v for v in target.version.split(", ") if v]
    name = f"ggml RPC {versions[0] if len(versions) == 1 else f'{len(versions)} versions'}"
    if not versions:
        name = "ggml RPC"
    left, right = (round(len(text) * _CHARACTER) + 12 for text in (name, value))
    name, value = escape(name), escape(value)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{name}: {value}">
<title>{name}: {value}</title>
<rect width="{left + right}" height="20" rx="3" fill="#444c56"/>
<path d="M{left} 0h{right - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left}z" fill="{COLOURS[answer]}"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{left / 2}" y="14" textLength="{left - 12}">{name}</text>
<text x="{left + right / 2}" y="14" textLength="{right - 12}">{value}</text>
</g>
</svg>
"""
