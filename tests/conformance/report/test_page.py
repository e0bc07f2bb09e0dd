"""The page as a parser sees it: what is in it, that it needs nothing else, and that nothing hostile is markup."""

import base64
import hashlib
import re
from html.parser import HTMLParser

from ggmlrpc_conformance.report.baseline import Known
from ggmlrpc_conformance.report.page import SHOWN_CASES, page
from ggmlrpc_conformance.results import Ending, Verdict

VOID = {"meta", "br", "link", "img", "rect", "path"}


class Page(HTMLParser):
    """Tags, attributes and text; complains of tags that do not match."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.ids, self.text, self.open = [], [], [], "", []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_every_section_is_there_and_anchors_are_unique(make):
    html = page(make.run(), {})
    parsed = Page(html)
    for words in (
        "Yes:",
        "clients of 7.0.0",
        "Malformed input",
        "UNARY/EXP",
        "llama.cpp#1",
        "signal SIGSEGV",
    ):
        assert words in parsed.text
    assert len(parsed.ids) == len(set(parsed.ids))
    links = [v for name, v in parsed.attributes if name == "href"]
    assert {link[1:] for link in links} <= set(parsed.ids)


def test_a_failure_has_clause_messages_and_a_command(make):
    parsed = Page(page(make.run(), {}))
    assert "An op, unary or glu number that the dialect does not have closes" in parsed.text
    assert "node 0 ADD, no sources" in parsed.text
    assert "--case bad.graph.no-source@7.0.0" in parsed.text
    assert "ggml.c:1: assert" in parsed.text


def test_a_large_group_shows_some_and_names_the_others(make):
    bad = [make.result(f"cmd.x{i:02}", verdict=Verdict.FAIL, found="no") for i in range(9)]
    parsed = Page(page(make.run(bad), {}))
    assert parsed.tags.count("article") == SHOWN_CASES
    assert "The same in: cmd.x03@7.0.0" in parsed.text


def test_stock_stands_beside_malformed_input(make):
    known = {"bad.graph.no-source@7.0.0": Known("stock-7.0.0", Verdict.FAIL, Ending.HUNG, "", None)}
    assert "Beside it: stock-7.0.0." in Page(page(make.run(), known)).text
    assert "Beside it" not in Page(page(make.run(), {})).text


def test_every_clause_has_its_state(make):
    text = " ".join(re.sub(r"<[^>]+>", " ", page(make.run(), {})).split())
    assert "OP-12 SHOULD broken 0/1" in text
    assert "GET-1 MUST kept 1/3" in text
    assert "HASH-2 MUST no case" in text


def test_an_interrupted_and_an_empty_run_have_a_page(make):
    assert (
        "INTERRUPTED: 8 of 90 cases ran"
        in Page(page(make.run(complete=False, selected=90), {})).text
    )
    assert "no MUST case was judged" in Page(page(make.run([], complete=False), {})).text


def test_each_of_several_targets_has_its_part(make):
    run = make.run([make.result(), make.result(target="b:2", verdict=Verdict.FAIL)])
    parsed = Page(page(run, {}))
    assert "t1-clients" in parsed.ids
    assert "t2-failures" in parsed.ids
    assert "t1-failures" not in parsed.ids


def test_hostile_text_is_never_markup(make):
    parsed, harmless = Page(page(make.hostile_run(), {})), Page(page(make.run(), {}))
    assert parsed.tags.count("script") == 1
    assert (
        not {name for name, _ in parsed.attributes}
        - {name for name, _ in harmless.attributes}
        - {"colspan"}
    )
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert "\x1b" not in parsed.text
    assert "\x00" not in parsed.text


def test_the_page_needs_nothing_and_allows_only_its_own_script(make):
    html = page(make.run(), {})
    assert not re.search(r"(?:src|href)=\"(?!#)|url\(|@import", html)
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html
