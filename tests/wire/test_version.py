from ggmlrpc_core.wire.version import ERA_A, ERA_E, ByVersion, V


def test_versions_are_ordered_and_print_as_triples():
    assert ERA_A < ERA_E < V(1, 0) < V(5, 1) < V(5, 1, 1) < V(6, 0)
    assert str(V(5, 1)) == "5.1.0"


def test_by_version_takes_the_highest_entry_not_above():
    value = ByVersion({V(3, 0): "b", V(1, 0): "a"})
    assert value.at(V(0, 5)) is None
    assert [value.at(V(1, 0)), value.at(V(2, 9)), value.at(V(3, 0)), value.at(V(9, 0))] == [
        "a",
        "a",
        "b",
        "b",
    ]
