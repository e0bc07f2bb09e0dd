import io

import pytest
from ggmlrpc_conformance.report import baseline
from ggmlrpc_conformance.results import Ending, Verdict


def test_what_is_written_is_read(make):
    file = io.StringIO()
    bad = make.result("bad.x", verdict=Verdict.CRASH, ending=Ending.DIED, found="signal\nSIGABRT")
    baseline.write(file, [make.op(share=0.5), bad, make.result("wire.s", verdict=Verdict.SKIP)])
    known = baseline.read("stock-7.0.0", file.getvalue().splitlines())
    assert list(known) == ["bad.x@7.0.0", "op/MUL_MAT/q4_0.f32/n4@7.0.0"]
    crash = known["bad.x@7.0.0"]
    assert (crash.name, crash.verdict, crash.ending) == ("stock-7.0.0", Verdict.CRASH, Ending.DIED)
    assert crash.found == "signal\\nSIGABRT"
    assert known["op/MUL_MAT/q4_0.f32/n4@7.0.0"].nmse == pytest.approx(2.5e-4)


def test_another_file_is_refused():
    with pytest.raises(ValueError, match="columns are"):
        baseline.read("x", ["id,verdict", "a,PASS"])


def test_the_shipped_ones_can_be_read():
    for known in baseline.shipped().values():
        assert known.name.startswith("stock-")
        assert known.verdict.judged
