"""The derived readers read what construct reads."""

import random
import struct

import construct
import numpy as np
import pytest

from ggmlrpc_core.wire import schema
from ggmlrpc_core.wire.commands import COMMANDS
from ggmlrpc_core.wire.dialects import dialect, wire_states
from ggmlrpc_core.wire.layout import Layout, dtype_of, flatten

SCHEMAS = {
    name: value
    for name, value in vars(schema).items()
    if isinstance(value, construct.Struct) and flatten(value, dialect("7.0.0").params)[1]
}


def plain(value):
    """construct containers as dicts, lists as tuples of the same values."""
    if isinstance(value, construct.Container):
        return {k: plain(v) for k, v in value.items() if not k.startswith("_") and v is not None}
    if isinstance(value, list):
        items = [plain(v) for v in value]
        return items if items and isinstance(items[0], dict) else tuple(items)
    return value


@pytest.mark.parametrize("name", [d.name for d in wire_states()])
@pytest.mark.parametrize("message", SCHEMAS)
def test_layout_and_construct_agree(name, message):
    params = dialect(name).params
    layout = Layout(SCHEMAS[message], params)
    assert layout.complete
    data = random.Random(message).randbytes(layout.size)
    assert SCHEMAS[message].sizeof(**params.as_dict()) == layout.size
    ours = layout.unpack(data)
    assert ours == plain(SCHEMAS[message].parse(data, **params.as_dict()))
    assert layout.pack(ours) == data
    assert SCHEMAS[message].build(ours, **params.as_dict()) == data


@pytest.mark.parametrize("name", [d.name for d in wire_states()])
def test_tensor_dtype_reads_what_construct_reads(name):
    d = dialect(name)
    data = random.Random(1).randbytes(3 * d.tensor.size)
    array = np.frombuffer(data, dtype_of(d.tensor.fields))
    for i, row in enumerate(array):
        one = d.tensor.unpack(data, i * d.tensor.size)
        for field in array.dtype.names:
            got = row[field]
            if isinstance(got, np.ndarray):
                assert tuple(got.tolist()) == one[field]
            elif isinstance(got, bytes):
                assert got == one[field].rstrip(b"\0")
            else:
                assert int(got) == one[field]


def test_flatten_stops_at_the_first_variable_field():
    fields, complete = flatten(COMMANDS["GRAPH_COMPUTE"].request, dialect("7.0.0").params)
    assert [f.name for f in fields] == ["device", "n_nodes"]
    assert not complete


def test_pack_refuses_what_does_not_fit():
    layout = Layout(schema.rpc_tensor, dialect("7.0.0").params)
    values = layout.unpack(bytes(layout.size))
    with pytest.raises(struct.error, match="ne has 3 elements, expected 4"):
        layout.pack({**values, "ne": (1, 2, 3)})
    with pytest.raises(struct.error):
        layout.pack({**values, "type": 1 << 32})
    with pytest.raises(KeyError):
        layout.pack({k: v for k, v in values.items() if k != "id"})
