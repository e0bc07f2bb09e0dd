def test_the_sum_is_printed_and_the_file_is_there(run, recording, tmp_path):
    code, out, _ = run("scrub", recording, "-o", tmp_path / "y.zip")
    assert code == 0
    assert out.startswith(f"{tmp_path / 'y.zip'}: 1 pieces of data replaced, 0 kept")
    _, out, _ = run("show", tmp_path / "y.zip")
    assert out.startswith("protocol 7.0.0, 1 servers, scrubbed")


def test_nothing_is_written_over(run, recording, tmp_path):
    (tmp_path / "y.ggrec").mkdir()
    code, _, err = run("scrub", recording, "-o", tmp_path / "y.ggrec")
    assert code == 1 and "there already, expected a name that is free" in err
