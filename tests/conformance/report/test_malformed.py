from ggmlrpc_conformance.report.baseline import Known
from ggmlrpc_conformance.report.malformed import malformed_rows, stock_names
from ggmlrpc_conformance.results import Ending, Verdict

STOCK = {"bad.a@7.0.0": Known("stock-7.0.0", Verdict.CRASH, Ending.DIED, "", None)}


def test_each_ending_has_its_word_and_stock_stands_beside(make):
    def bad(name, verdict, ending):
        return make.result(f"bad.{name}", area="bad", verdict=verdict, ending=ending)

    results = [
        bad("a", Verdict.PASS, Ending.CLOSED),
        bad("b", Verdict.PASS, Ending.KEPT),
        bad("c", Verdict.HANG, Ending.HUNG),
        bad("d", Verdict.CRASH, Ending.CLOSED),
        bad("e", Verdict.FAIL, Ending.NONE),
        bad("f", Verdict.SKIP, Ending.NONE),
        make.result("wire.x", clauses=("FRAME-8", "SAFE-1"), ending=Ending.RESET),
        make.result(),
    ]
    rows = malformed_rows(results, STOCK)
    assert [(r.result.case_id, r.outcome) for r in rows] == [
        ("bad.d", "server died"),
        ("bad.c", "hung"),
        ("bad.e", "FAIL"),
        ("bad.a", "refused"),
        ("bad.b", "went on"),
        ("wire.x", "refused"),
    ]
    first = rows[3]
    assert (first.stock, first.stock_bad) == ("server died", True)
    assert rows[4].stock == ""
    assert [r.notable for r in rows] == [True, True, True, True, False, False]
    assert stock_names(results, STOCK) == ["stock-7.0.0"]
