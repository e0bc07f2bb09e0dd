import pytest


@pytest.fixture
def scrubbed(run, recording, tmp_path):
    run("scrub", recording, "-o", tmp_path / "y.ggrec")
    return tmp_path / "y.ggrec"


def test_answers_of_a_server(run, scrubbed, reference_server, tmp_path):
    code, out, _ = run("complete", scrubbed, "-o", tmp_path / "z", "--target", reference_server)
    assert (code, out) == (0, f"{tmp_path / 'z'}: 1 answers written\n")
    assert run("replay", tmp_path / "z", "--target", reference_server)[0] == 0


def test_answers_of_the_reference_ops(run, scrubbed, reference_server, tmp_path):
    code, out, _ = run("complete", scrubbed, "-o", tmp_path / "z.zip", "--reference")
    assert code == 0 and out.endswith("1 answers written\n")
    code, out, _ = run("replay", tmp_path / "z.zip", "--target", reference_server)
    assert code == 0 and "1 of 1 answers equal" in out


def test_one_of_both(run, scrubbed, tmp_path):
    for more in ([], ["--reference", "--target", "h:1"]):
        code, _, err = run("complete", scrubbed, "-o", tmp_path / "z", *more)
        assert code == 2 and "expected either --target or --reference" in err
