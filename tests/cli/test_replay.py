import json


def test_a_good_replay(run, recording, reference_server):
    code, out, _ = run("replay", recording, "--target", reference_server)
    assert code == 0
    assert out.splitlines()[-1] == f"x.ggrec on {reference_server}: ok"


def test_several_and_json(run, recording, reference_server):
    code, out, _ = run("replay", recording, recording, "--target", reference_server)
    assert code == 0 and out.splitlines()[-1] == "2 of 2 recordings ok"
    code, out, _ = run("replay", recording, "--target", reference_server, "--json")
    assert json.loads(out)["ok"]


def test_a_difference_is_exit_code_1(run, recording, reference_server):
    lines = recording / "session.jsonl"
    text = "\n".join(lines.read_text().splitlines()[:-1])
    assert '"hex":"0000000000' in text
    at = text.rindex('"hex":"0000000000') + 7
    lines.write_text(text[:at] + "00000041" + text[at + 8 :] + "\n")
    code, out, _ = run("replay", recording, "--target", reference_server)
    assert code == 1
    assert "GET_TENSOR: " in out and out.splitlines()[-1].endswith(": 1 faults")


def test_no_server_is_exit_code_1(run, recording):
    code, out, _ = run("replay", recording, "--target", "127.0.0.1:1", "--timeout", "5")
    assert code == 1 and "expected one that listens" in out


def test_what_is_no_recording(run, tmp_path):
    (tmp_path / "x").write_text("hello")
    code, _, err = run("replay", tmp_path / "x")
    assert code == 1 and "a folder or a zip file" in err
    code, _, err = run("replay", tmp_path / "nothing")
    assert code == 1 and "nothing: No such file" in err
