"""Disjoint ranges: found by overlap and by equality."""

from ggmlrpc_metal.segments import Segment, Segments


def ranges(found) -> list[tuple[int, int]]:
    return [(segment.lo, segment.hi) for segment in found]


def made(*pairs: tuple[int, int]) -> Segments:
    segments = Segments()
    for lo, hi in pairs:
        segments.add(Segment(lo, hi, f"{lo}"))
    return segments


def test_overlap_is_told_to_the_byte():
    segments = made((20, 30), (0, 10), (10, 15))
    assert ranges(segments) == [(0, 10), (10, 15), (20, 30)]
    assert ranges(segments.overlapping(9, 10)) == [(0, 10)]
    assert ranges(segments.overlapping(9, 11)) == [(0, 10), (10, 15)]
    assert ranges(segments.overlapping(15, 20)) == []
    assert ranges(segments.overlapping(29, 99)) == [(20, 30)]
    assert ranges(segments.overlapping(0, 99)) == [(0, 10), (10, 15), (20, 30)]
    assert ranges(segments.overlapping(5, 5)) == []


def test_exact_means_both_ends():
    segments = made((0, 10))
    assert segments.exact(0, 10).array == "0"
    assert segments.exact(0, 9) is None and segments.exact(1, 10) is None


def test_the_version_changes_with_the_ranges():
    segments = made((0, 10), (20, 30))
    before = segments.version
    segments.remove(segments.exact(0, 10))
    assert segments.version != before
    assert ranges(segments) == [(20, 30)]
    segments.clear()
    assert len(segments) == 0 and segments.exact(20, 30) is None
