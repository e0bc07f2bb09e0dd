from ggmlrpc_conformance.report.summary import summary


def test_the_summary_answers_and_lists_failures(make):
    text = summary(make.run())
    assert "Will my llama.cpp work? **yes**" in text
    assert "| 7.0.0 | works | 1 recorded session replayed |" in text
    assert "| bad |  | 0/1 |  |" in text
    assert "| SHOULD CRASH: the server ended with signal SIGSEGV | OP-12 | 1 |" in text


def test_an_interrupted_run_says_so(make):
    assert "**INTERRUPTED: 8 of 90 cases ran" in summary(make.run(complete=False, selected=90))


def test_nothing_hostile_is_markup(make):
    text = summary(make.hostile_run())
    assert "<script" not in text
    assert "`" not in text
    assert "\x1b" not in text


def test_known_deviations_have_their_reason(make):
    assert "| llama.cpp&#35;1 | GET-1 | 1 | closed | wire.known&#64;7.0.0 |" in summary(make.run())
