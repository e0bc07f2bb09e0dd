from xml.etree import ElementTree

from ggmlrpc_conformance.report.badge import COLOURS, badge
from ggmlrpc_conformance.report.headline import Answer
from ggmlrpc_conformance.results import Verdict


def test_the_badge_counts_musts_and_takes_the_colour_of_the_answer(make):
    text = badge(make.run())
    assert ElementTree.fromstring(text).get("aria-label") == "ggml RPC 7.0.0: 4/4 MUST"
    assert COLOURS[Answer.YES] in text
    assert COLOURS[Answer.NO] in badge(make.run([make.result(verdict=Verdict.FAIL)]))
    assert "interrupted" in badge(make.run(complete=False))
    assert "nothing judged" in badge(make.run([]))


def test_a_hostile_version_is_text(make):
    info = make.hostile_run().info.targets[0]
    run = make.run([], targets=(type(info)(make.HOSTILE.replace("\x00", ""), version="<b>"),))
    assert "<b>" not in badge(run)
    ElementTree.fromstring(badge(run))
