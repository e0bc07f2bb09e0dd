from ggmlrpc_core.recording.report import MAX_FAULTS, Check, Report

GOOD = [
    Check(2, 1, "open"),
    Check(3, 1, "HELLO"),
    Check(4, 1, "GET_TENSOR", equal=False, nmse=2e-7),
]


def test_a_good_replay():
    report = Report("x.ggrec", "h:1", [*GOOD, Check(5, 1, "GET_TENSOR", equal=True)], complete=True)
    assert report.ok and report.worst == 2e-7
    assert report.text().splitlines() == [
        "3 messages on 1 connections, 1 of 2 answers equal, worst nmse 2e-07",
        "x.ggrec on h:1: ok",
    ]
    assert report.to_dict()["data"] == {"compared": 2, "equal": 1}
    assert report.by_command() == {"HELLO": 1, "GET_TENSOR": 2}


def test_faults_come_first_and_not_all_of_them():
    faults = [
        Check(i, 1, "FREE_BUFFER", "it is wrong, expected right") for i in range(MAX_FAULTS + 3)
    ]
    report = Report("x.ggrec", "h:1", faults, unsent=4, complete=False)
    lines = report.text().splitlines()
    assert lines[0] == "x.ggrec line 0: connection 1: FREE_BUFFER: it is wrong, expected right"
    assert lines[MAX_FAULTS] == "and 3 more faults"
    assert "4 messages were not sent, their connection was lost" in lines
    assert "the recording has no end: its recorder was stopped hard" in lines
    assert lines[-1] == f"x.ggrec on h:1: {MAX_FAULTS + 3} faults"
    assert not report.ok and not report.to_dict()["ok"]


def test_messages_that_were_not_sent_are_no_success():
    assert not Report("x", "h", GOOD, unsent=1).ok
