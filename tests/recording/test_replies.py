"""Every kind of answer: what may differ from the recorded one and what may not."""

import pytest

from ggmlrpc_core.recording.messages import Message
from ggmlrpc_core.recording.replies import Replies
from ggmlrpc_core.recording.space import Rebinder, Space
from ggmlrpc_core.wire import codec
from ggmlrpc_core.wire.dialects import dialect

D = dialect("7.0.0")


@pytest.fixture
def judge():
    space = Space()
    space.add(100)
    rebinder = Rebinder(space)
    replies = Replies(D, rebinder, alignment=512)

    def fault(command, recorded, got, **fields):
        wire = D.by_name[command]
        payload = bytes(wire.request.size)
        if "TENSOR" not in command:
            values = {"device": 0, "remote_ptr": 1, "size": 90, **fields}
            payload = codec.encode_request(D, wire, values)

        def pack(value):
            return value if isinstance(value, bytes) else codec.encode_reply(wire, value)

        return replies.fault(wire, Message(1, command, payload, reply=pack(recorded)), pack(got))

    fault.rebinder = rebinder
    return fault


def buffer(handle, size):
    return {"remote_ptr": handle, "remote_size": size}


def memory(free, total):
    return {"free_mem": free, "total_mem": total}


V7 = {"major": 7, "minor": 0, "patch": 0}


@pytest.mark.parametrize(
    ("command", "recorded", "good", "bad"),
    [
        ("HELLO", V7, {**V7, "patch": 9}, {**V7, "minor": 1}),
        ("HELLO", V7, V7, {**V7, "major": 6}),
        ("GET_ALIGNMENT", {"alignment": 512}, {"alignment": 64}, {"alignment": 1024}),
        ("GET_ALIGNMENT", {"alignment": 512}, {"alignment": 512}, {"alignment": 0}),
        ("GET_MAX_SIZE", {"max_size": 9}, {"max_size": 5}, {"max_size": 0}),
        ("GET_DEVICE_MEMORY", memory(1, 2), memory(0, 9), memory(3, 2)),
        ("ALLOC_BUFFER", buffer(1, 90), buffer(77, 128), buffer(77, 89)),
        ("ALLOC_BUFFER", buffer(1, 90), buffer(7, 90), buffer(0, 0)),
        ("ALLOC_BUFFER", buffer(0, 0), buffer(0, 0), buffer(7, 90)),
        ("BUFFER_GET_BASE", {"base_ptr": 5}, {"base_ptr": 1}, {"base_ptr": 0}),
        ("BUFFER_GET_BASE", {"base_ptr": 0}, {"base_ptr": 1}, b""),
        ("GET_ALLOC_SIZE", {"alloc_size": 90}, {"alloc_size": 64}, {"alloc_size": 91}),
        ("DEVICE_COUNT", {"device_count": 2}, {"device_count": 3}, {"device_count": 1}),
        ("SET_TENSOR_HASH", {"result": 0}, {"result": 1}, {"result": 2}),
        ("COPY_TENSOR", {"result": 1}, {"result": 0}, {"result": 9}),
        ("DEVICE_COUNT", b"odd", b"odd", b"add"),
        ("DEVICE_COUNT", {"device_count": 2}, {"device_count": 2}, b"12345"),
    ],
)  # fmt: skip
def test_answers(judge, command, recorded, good, bad):
    fields = {"tensor": None} if command == "GET_ALLOC_SIZE" else {}
    if fields:
        wire = D.by_name[command]
        replies = Replies(D, judge.rebinder, alignment=512)
        for got, is_bad in ((good, False), (bad, True)):
            m = Message(
                1, command, bytes(wire.request.size), reply=codec.encode_reply(wire, recorded)
            )
            assert bool(replies.fault(wire, m, codec.encode_reply(wire, got))) == is_bad
        return
    assert judge(command, recorded, good) == ""
    assert ", expected " in judge(command, recorded, bad)


def test_the_servers_handles_and_addresses_are_learned(judge):
    judge(
        "ALLOC_BUFFER",
        buffer(1, 90),
        {"remote_ptr": 0x77, "remote_size": 90},
    )
    assert judge.rebinder.handle(1) == 0x77 and not judge.rebinder.has_base(1)
    judge("BUFFER_GET_BASE", {"base_ptr": 1 << 36}, {"base_ptr": 0x5000}, remote_ptr=1)
    assert judge.rebinder.has_base(1)


def test_a_status_must_be_the_recorded_one():
    d = dialect("3.0.0")
    wire = d.by_name["GRAPH_COMPUTE"]
    replies = Replies(d, Rebinder(Space()), alignment=512)
    message = Message(1, wire.name, b"", reply=b"\0")
    assert replies.fault(wire, message, b"\0") == ""
    assert "expected {'result': 0}" in replies.fault(wire, message, b"\xff")
