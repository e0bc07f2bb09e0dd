import json


def test_lines_for_people(run, recording):
    code, out, _ = run("show", recording)
    assert code == 0
    head, *lines = out.splitlines()
    assert head.startswith("protocol 7.0.0, 1 servers, unscrubbed, tolerance {'nmse': 0.001}")
    assert " ALLOC_BUFFER " in out and lines[-1].endswith("by the client")


def test_filters(run, recording):
    code, out, _ = run("show", recording, "--command", "graph_compute", "--graphs")
    assert code == 0 and len(out.splitlines()) == 3
    assert out.splitlines()[2].strip() == "SQR node_0 [8] of x"
    code, out, _ = run("show", recording, "--command", "SET_TENSOR", "--values", "3")
    assert "[" in out.splitlines()[1]


def test_an_unknown_command_is_wrong_usage(run, recording):
    code, _, err = run("show", recording, "--command", "NOPE")
    assert code == 2 and "NOPE: no such command in protocol 7.0.0" in err


def test_json(run, recording):
    _, out, _ = run("show", recording, "--json")
    head, *lines = map(json.loads, out.splitlines())
    assert head["ggrec"] == 1 and lines[0]["event"] == "open"


def test_a_file_without_an_end(run, recording):
    lines = recording / "session.jsonl"
    lines.write_text("".join(lines.read_text().splitlines(keepends=True)[:-1]))
    code, _, err = run("show", recording)
    assert code == 0 and "has no end" in err
