"""The first override that fits is taken."""

from ggmlrpc_metal.override import Override, find_override

from ggmlrpc_core.graph.build import GraphBuilder


def test_the_first_that_accepts_and_can_run_here():
    b = GraphBuilder()
    node = b.scale(b.new_tensor("F32", 8), 2.0)
    kernel = Override("SCALE", lambda node: True, print, needs_gpu=True)
    small = Override("SCALE", lambda node: node.ne[0] < 8, print)
    other = Override("ADD", lambda node: True, print)
    last = Override("SCALE", lambda node: True, print)
    forms = (other, small, kernel, last)
    assert find_override(forms, node, gpu=True) is kernel
    assert find_override(forms, node, gpu=False) is last
    assert find_override((other, small), node, gpu=True) is None
