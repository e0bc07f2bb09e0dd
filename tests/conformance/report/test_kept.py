from ggmlrpc_conformance.clauses import clauses
from ggmlrpc_conformance.report.kept import clause_rows
from ggmlrpc_conformance.results import Verdict


def test_a_clause_is_kept_broken_or_not_judged(make):
    results = [
        make.result(clauses=("GET-1", "FRAME-3")),
        make.result("cmd.b", clauses=("FRAME-3",), verdict=Verdict.FAIL),
        make.result("cmd.c", clauses=("GET-4",), verdict=Verdict.NOTRUN),
    ]
    states = {row.clause.id: row.state for row in clause_rows(results)}
    assert list(states) == [c.id for c in clauses().values() if c.withdrawn is None]
    found = {name: states[name] for name in ("GET-1", "FRAME-3", "GET-4", "GET-2")}
    assert found == {
        "GET-1": "kept",
        "FRAME-3": "broken",
        "GET-4": "not judged",
        "GET-2": "no case",
    }
