"""Plans as drawings: nothing lies on anything else, and every curve goes forward."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runs import drawing
from runs.drawing import Box, Drawing, Vertex, draw


def chain(length):
    return [Vertex(f"v{n}", f"v{n}", after=(f"v{n - 1}",) if n else ()) for n in range(length)]


def beside(number, **more):
    return [Vertex(f"v{n}", f"v{n}", **more) for n in range(number)]


@st.composite
def dags(draw_from, within=""):
    """Vertices that wait for earlier ones; some have others within them."""
    vertices = []  # type: ignore[var-annotated]
    for n in range(draw_from(st.integers(1, 9))):
        after = draw_from(st.sets(st.sampled_from([each.id for each in vertices]))) if vertices else ()
        id = f"{within}{n}."
        inner = draw_from(dags(id)) if not within and draw_from(st.booleans()) else ()
        vertices.append(Vertex(id, id, after=tuple(sorted(after)), inner=tuple(inner)))
    return vertices


def boxes_by_id(drawn):
    return {box.vertex.id: box for box in drawn.boxes}


def overlap(one, other):
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def holds(outer, inner):
    return (
        outer.x < inner.x
        and outer.y < inner.y
        and inner.x + inner.width < outer.x + outer.width
        and inner.y + inner.height < outer.y + outer.height
    )


def is_inside(box, drawn):
    return 0 <= box.x <= drawn.width - box.width and 0 <= box.y <= drawn.height - box.height


def faults(drawn: Drawing) -> list[str]:
    """What is wrong with a drawing: boxes on one another, outside of it or of the box around them, curves backwards."""
    found = []
    for one, other in combinations(drawn.boxes, 2):
        if overlap(one, other) and not (holds(one, other) or holds(other, one)):
            found.append(f"{one.vertex.id} lies on {other.vertex.id}")
    found += [f"{box.vertex.id} lies outside" for box in drawn.boxes if not is_inside(box, drawn)]
    by_id = boxes_by_id(drawn)
    for box in drawn.boxes:
        found += [f"{i.id} is not within" for i in box.vertex.inner if i.id in by_id and not holds(box, by_id[i.id])]
    for curve in drawn.curves:
        source, target = by_id[curve.source], by_id[curve.target]
        xs = [x for x, _ in curve.points]
        if xs != sorted(xs) or xs[0] != source.x + source.width or xs[-1] != target.x:
            found.append(f"{curve.source} to {curve.target} does not go forward")
    return found


@settings(max_examples=150, deadline=None)
@given(dags())
def test_no_box_lies_on_another_and_every_curve_goes_forward(vertices):
    assert faults(draw(vertices)) == []  # type: ignore[arg-type]


def test_control_a_box_that_lies_on_another_is_found():
    one, other = Box(Vertex("a", "a"), 0, 0, 10, 10), Box(Vertex("b", "b"), 5, 5, 10, 10)

    assert faults(Drawing(20, 20, (one, other), ())) == ["a lies on b"]


def test_a_layer_is_the_longest_way_to_it():
    drawn = draw([*chain(3), Vertex("last", "last", after=("v0", "v2"))])

    by_id = boxes_by_id(drawn)
    xs = [by_id[id].x for id in ("v0", "v1", "v2", "last")]
    assert xs == [n * (drawing.WIDTH + drawing.GAP_X) for n in range(4)]


def test_a_long_curve_goes_around_what_lies_between():
    drawn = draw([*chain(3), Vertex("last", "last", after=("v0", "v2"))])

    long = next(curve for curve in drawn.curves if (curve.source, curve.target) == ("v0", "last"))  # type: ignore[union-attr]
    between = [boxes_by_id(drawn)[id] for id in ("v1", "v2")]
    for x, y in long.points[1:-1]:
        assert not any(b.x <= x <= b.x + b.width and b.y <= y <= b.y + b.height for b in between)


@pytest.mark.parametrize(("inside", "drawn_within"), [(8, 8), (9, 0)])
def test_many_within_are_folded_away(inside, drawn_within):
    group = Vertex("each", "each", summary="9 of 9 done", inner=tuple(beside(inside)))

    drawn = draw([group])

    assert len(drawn.boxes) == 1 + drawn_within  # type: ignore[union-attr]


def test_the_whole_of_it_is_never_folded():
    drawn = draw([Vertex("lead", "lead", inner=tuple(beside(20)), never_folds=True)])

    assert len(drawn.boxes) == 21  # type: ignore[union-attr]


@pytest.mark.parametrize("vertices", [[], beside(61), chain(251)])
def test_too_much_is_not_drawn(vertices):
    assert draw(vertices) is None


@pytest.mark.parametrize("vertices", [beside(60), chain(250)])
def test_control_as_much_as_may_be_is_drawn(vertices):
    assert faults(draw(vertices)) == []  # type: ignore[arg-type]


def test_what_waits_for_something_outside_is_drawn_all_the_same():
    assert draw([Vertex("a", "a", after=("elsewhere",))]).curves == ()  # type: ignore[union-attr]


def test_a_curve_is_a_path():
    drawn = draw([*beside(2), Vertex("c", "c", after=("v0", "v1"))])

    assert all(curve.path.startswith(f"M{drawing.WIDTH} ") and "C" in curve.path for curve in drawn.curves)  # type: ignore[union-attr]
