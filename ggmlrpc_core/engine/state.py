"""The order of messages: one table of states for both roles.

A state is what the connection waits for. Both sides walk the same states, because a message that one side sends is
the same step for the other, which receives it. An absent entry is the error.

    GREETING --HELLO--> ANSWERING --reply--> READY
    READY --request that is answered--> ANSWERING --reply--> READY
    READY --request that is not answered--> READY
    READY --request with a body--> BODY --body done--> READY, or ANSWERING where uploads are answered
    ANSWERING --reply with a body--> REPLY_BODY --body done--> READY
    any --fault or end--> CLOSED
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto
from types import MappingProxyType


class Role(Enum):
    """Which side of the connection this engine is."""

    CLIENT = auto()
    SERVER = auto()


class State(IntEnum):
    """What comes next on the connection. Integers, because they are looked up for every message."""

    GREETING = auto()
    READY = auto()
    ANSWERING = auto()
    BODY = auto()
    REPLY_BODY = auto()
    CLOSED = auto()


class Step(IntEnum):
    """What can happen."""

    HELLO = auto()
    ASK = auto()  # a request that will be answered
    TELL = auto()  # a request that will not
    UPLOAD = auto()  # a request with a body
    UPLOADED = auto()  # its body is complete and nothing is answered
    UPLOADED_ASK = auto()  # its body is complete and an answer is due
    REPLY = auto()
    DATA = auto()  # a reply that is a body
    DATA_DONE = auto()
    END = auto()


TRANSITIONS: MappingProxyType[State, MappingProxyType[Step, State]] = MappingProxyType(
    {
        State.GREETING: MappingProxyType({Step.HELLO: State.ANSWERING, Step.END: State.CLOSED}),
        State.READY: MappingProxyType(
            {
                Step.ASK: State.ANSWERING,
                Step.TELL: State.READY,
                Step.UPLOAD: State.BODY,
                Step.END: State.CLOSED,
            }
        ),
        State.ANSWERING: MappingProxyType(
            {Step.REPLY: State.READY, Step.DATA: State.REPLY_BODY, Step.END: State.CLOSED}
        ),
        State.BODY: MappingProxyType(
            {Step.UPLOADED: State.READY, Step.UPLOADED_ASK: State.ANSWERING, Step.END: State.CLOSED}
        ),
        State.REPLY_BODY: MappingProxyType({Step.DATA_DONE: State.READY, Step.END: State.CLOSED}),
        State.CLOSED: MappingProxyType({Step.END: State.CLOSED}),
    }
)
"""State, then step, to the next state; the same for both roles."""
