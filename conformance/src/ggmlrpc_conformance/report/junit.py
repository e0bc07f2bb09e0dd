"""JUnit XML, for continuous integration. A failure is the target's, an error is the suite's."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ggmlrpc_conformance.report.tally import all_targets, of_target
from ggmlrpc_conformance.report.text import plain
from ggmlrpc_conformance.results import CaseResult, Run, Verdict

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_SKIPPED = (
    Verdict.SKIP, Verdict.NOTRUN, Verdict.XFAIL, Verdict.UNSUPPORTED, Verdict.INFO, Verdict.FLAKY,
)  # fmt: skip


def junit(run: Run) -> str:
    """The whole run: a suite per target."""
    root = ElementTree.Element("testsuites", name="ggmlrpc-conformance")
    for target in all_targets(run):
        results = of_target(run, target)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml(target.label),
            timestamp=_xml(run.info.started),
            time=f"{sum(r.seconds for r in results):.3f}",
            tests=str(len(results)),
            failures=str(sum(r.verdict.bad or r.verdict is Verdict.XPASS for r in results)),
            errors=str(sum(r.verdict is Verdict.HARNESS_ERROR for r in results)),
            skipped=str(sum(r.verdict in _SKIPPED for r in results)),
        )
        properties = ElementTree.SubElement(suite, "properties")
        for name, value in (
            ("suite", run.info.suite),
            ("tier", run.info.tier),
            ("version", target.version),
            ("complete", str(run.info.complete).lower()),
        ):
            ElementTree.SubElement(properties, "property", name=name, value=_xml(value))
        for result in results:
            _case(suite, result)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, result: CaseResult) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_xml(f"{result.area}.{result.dialect}"),
        name=_xml(result.full_id),
        time=f"{result.seconds:.3f}",
    )
    properties = ElementTree.SubElement(case, "properties")
    for name, value in (
        ("number", result.number),
        ("level", result.level.value),
        ("clauses", " ".join(result.clauses)),
        ("verdict", result.verdict.value),
    ):
        ElementTree.SubElement(properties, "property", name=name, value=_xml(value))
    verdict, message = result.verdict, plain(result.found or result.reason)
    if verdict is Verdict.HARNESS_ERROR:
        ElementTree.SubElement(case, "error", type=verdict.value, message=_xml(message))
    elif verdict.bad or verdict is Verdict.XPASS:
        failure = ElementTree.SubElement(
            case, "failure", type=f"{result.level} {verdict}", message=_xml(message)
        )
        failure.text = _xml(
            f"clauses: {' '.join(result.clauses)}\nexpected: {plain(result.expected)}\n"
            f"found: {message}\nrepeat: {plain(result.repro)}\n"
        )
    elif verdict in _SKIPPED:
        shown = f"{verdict}: {plain(result.reason or result.found)}"
        ElementTree.SubElement(case, "skipped", message=_xml(shown))
    if result.server_output and not verdict.good:
        ElementTree.SubElement(case, "system-err").text = _xml(result.server_output[-4000:])


def _xml(text: str) -> str:
    """Without characters that XML does not have."""
    return _NOT_XML.sub("?", text)
