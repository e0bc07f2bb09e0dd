from ggmlrpc_conformance.report import text


def test_plain_text_has_no_control_characters_and_is_cut():
    assert text.plain("a\x1b[31m\nb") == "a\\x1b[31m\\nb"
    assert text.plain("x" * 500) == "x" * 397 + "..."
    assert text.plain("é ✓ 日本") == "é ✓ 日本"


def test_lines_keeps_the_last_ones():
    assert text.lines("a\nb\x00\nc", 2) == "b\\x00\nc"


def test_markdown_leaves_no_markup():
    shown = text.markdown("<b>*x*|`y`[z](u)#!~@_&\\")
    assert not set("<>*|`[]_\\") & set(shown)
    assert text.markdown("a-b (c)") == "a-b (c)"
    assert text.markdown("MUL_MAT _x_ __") == "MUL_MAT &#95;x&#95; &#95;&#95;"


def test_spreadsheets_see_no_formula():
    assert [text.spreadsheet(t)[0] for t in ("=1", "+1", "-1", "@x")] == ["'"] * 4
    assert text.spreadsheet("MUL_MAT") == "MUL_MAT"


def test_counts_and_lists():
    assert text.count(1, "case") == "1 case"
    assert text.count(1200, "case") == "1,200 cases"
    assert text.count(2, "case was", "cases were") == "2 cases were"
    assert text.listed(list("abcdefgh"), 3) == "a, b and 6 more"
    assert [text.joined(list(w)) for w in ("", "a", "ab", "abc")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
