"""A plan as a drawing: boxes in layers from left to right, joined by curves. Pure: no row, no query, no clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import mean

# In pixels, as the drawing is shown: it scrolls, and is never scaled.
WIDTH, HEIGHT = 184, 54
GAP_X, GAP_Y = 52, 14
PADDING, HEAD = 14, 34
# What passes a layer on its way to a later one.
PASSAGE = 8
# More inner boxes than these are told in words on the box around them.
FOLDED_BEYOND = 8
# A drawing of more than these helps nobody; a list does.
LAYER_LIMIT = 60
LIMIT = 250


@dataclass(frozen=True)
class Vertex:
    """What is drawn as one box, or with others within it. `after`: ids of those it waits for, within the same one.

    `detail` is the second line of the box, `summary` the one that stands for inner boxes that are folded away, and
    `spoken` all of it for those who do not see it. `status` is a node's, "" for what is only proposed.
    `never_folds`: it is the whole of what is drawn.
    """

    id: str
    label: str
    detail: str = ""
    status: str = ""
    spoken: str = ""
    href: str = ""
    summary: str = ""
    after: tuple[str, ...] = ()
    inner: tuple["Vertex", ...] = ()
    never_folds: bool = False

    @property
    def is_folded(self) -> bool:
        return len(self.inner) > FOLDED_BEYOND and not self.never_folds

    @property
    def is_open(self) -> bool:
        return bool(self.inner) and not self.is_folded


@dataclass(frozen=True)
class Box:
    """Its upper left corner, and its size. Boxes around others stand ahead of them."""

    vertex: Vertex
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Curve:
    """`points`: pairs of x and y, the first on the edge of one box, the last on the edge of another."""

    source: str
    target: str
    points: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        """As the `d` of an SVG path: each piece leaves and arrives level."""
        x, y = self.points[0]
        pieces = [f"M{x:g} {y:g}"]
        for (x0, y0), (x1, y1) in pairwise(self.points):
            middle = (x0 + x1) / 2
            pieces.append(f"L{x1:g} {y1:g}" if y0 == y1 else f"C{middle:g} {y0:g} {middle:g} {y1:g} {x1:g} {y1:g}")
        return "".join(pieces)


@dataclass(frozen=True)
class Drawing:
    width: float
    height: float
    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]


@dataclass(eq=False)
class _Slot:
    """A place in a layer: a vertex, or, without one, the passage of a curve."""

    vertex: Vertex | None
    layer: int
    width: float = 0
    height: float = PASSAGE
    inside: Drawing | None = None
    before: list["_Slot"] = field(default_factory=list)
    behind: list["_Slot"] = field(default_factory=list)
    x: float = 0
    y: float = 0

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def draw(vertices: Sequence[Vertex]) -> Drawing | None:
    """None for what is too much to be drawn. Expects no ring among them."""
    if not vertices or _count(vertices) > LIMIT or _widest(vertices) > LAYER_LIMIT:
        return None
    return _group(vertices)


def _count(vertices: Iterable[Vertex]) -> int:
    return sum(1 + (_count(each.inner) if each.is_open else 0) for each in vertices)


def _widest(vertices: Sequence[Vertex]) -> int:
    layers = list(_layers(vertices).values())
    here = max(layers.count(layer) for layer in set(layers))
    return max([here, *(_widest(each.inner) for each in vertices if each.is_open)])


def _layers(vertices: Sequence[Vertex]) -> dict[str, int]:
    """By id, how many come before it on the longest way to it."""
    known = {each.id: each for each in vertices}
    found: dict[str, int] = {}
    for vertex in vertices:
        waiting = [vertex]
        while waiting:
            last = waiting[-1]
            missing = [known[id] for id in last.after if id in known and id not in found]
            if missing and last.id not in found:
                waiting += missing
                continue
            found.setdefault(last.id, max((found[id] + 1 for id in last.after if id in known), default=0))
            waiting.pop()
    return found


def _group(vertices: Sequence[Vertex]) -> Drawing:
    slots, passages = _slots(vertices)
    layers = _in_layers([*slots.values(), *(slot for way in passages for slot in way[1:-1])])
    _order(layers)
    _place(layers)
    boxes = [box for slot in slots.values() for box in _boxes(slot)]
    curves = [_curve(way, layers) for way in passages]
    curves += [curve for slot in slots.values() for curve in _inner_curves(slot)]
    every = [slot for layer in layers for slot in layer]
    width, height = max(slot.x + slot.width for slot in every), max(slot.y + slot.height for slot in every)
    return Drawing(width, height, tuple(boxes), tuple(curves))


def _slots(vertices: Sequence[Vertex]) -> tuple[dict[str, _Slot], list[list[_Slot]]]:
    """Every vertex in its layer, and the way of every curve: what it passes between the two it joins."""
    layers = _layers(vertices)
    slots = {each.id: _slot(each, layers[each.id]) for each in vertices}
    ways = []
    for vertex in vertices:
        for id in dict.fromkeys(vertex.after):
            if id in slots:
                source, target = slots[id], slots[vertex.id]
                passed = [_Slot(None, layer) for layer in range(source.layer + 1, target.layer)]
                ways.append([source, *passed, target])
    for one, next_one in (pair for way in ways for pair in pairwise(way)):
        one.behind.append(next_one)
        next_one.before.append(one)
    return slots, ways


def _slot(vertex: Vertex, layer: int) -> _Slot:
    if not vertex.is_open:
        return _Slot(vertex, layer, WIDTH, HEIGHT)
    inside = _group(vertex.inner)
    width = max(WIDTH, inside.width + 2 * PADDING)
    return _Slot(vertex, layer, width, inside.height + HEAD + PADDING, inside)


def _in_layers(slots: Sequence[_Slot]) -> list[list[_Slot]]:
    layers: list[list[_Slot]] = [[] for _ in range(max(slot.layer for slot in slots) + 1)]
    for slot in slots:
        layers[slot.layer].append(slot)
    return layers


def _order(layers: list[list[_Slot]]) -> None:
    """Each beside what it is joined to, forwards and back: fewer curves cross."""
    for layer in layers:
        _sort(layer, layers, "before")
    for layer in reversed(layers):
        _sort(layer, layers, "behind")
    for layer in layers:
        _sort(layer, layers, "before")


def _sort(layer: list[_Slot], layers: list[list[_Slot]], side: str) -> None:
    rank = {slot: n / max(1, len(each) - 1) for each in layers for n, slot in enumerate(each)}
    layer.sort(key=lambda slot: mean([rank[each] for each in getattr(slot, side)] or [rank[slot]]))


def _place(layers: list[list[_Slot]]) -> None:
    heights = [sum(slot.height for slot in layer) + GAP_Y * (len(layer) - 1) for layer in layers]
    x: float = 0
    for layer, height in zip(layers, heights, strict=True):
        y = (max(heights) - height) / 2
        for slot in layer:
            slot.x, slot.y = x, y
            y += slot.height + GAP_Y
        x += max(slot.width for slot in layer) + GAP_X


def _boxes(slot: _Slot) -> list[Box]:
    assert slot.vertex is not None
    box = Box(slot.vertex, slot.x, slot.y, slot.width, slot.height)
    if slot.inside is None:
        return [box]
    dx, dy = slot.x + PADDING, slot.y + HEAD
    return [box, *(replace(each, x=each.x + dx, y=each.y + dy) for each in slot.inside.boxes)]


def _inner_curves(slot: _Slot) -> list[Curve]:
    if slot.inside is None:
        return []
    dx, dy = slot.x + PADDING, slot.y + HEAD
    return [replace(curve, points=tuple((x + dx, y + dy) for x, y in curve.points)) for curve in slot.inside.curves]


def _curve(way: list[_Slot], layers: list[list[_Slot]]) -> Curve:
    """Level across the layers that it passes, and bent only between them."""
    source, *passed, target = way
    points = [(source.x + source.width, source.middle)]
    for slot in passed:
        right = slot.x + max(each.width for each in layers[slot.layer])
        points += [(slot.x, slot.middle), (right, slot.middle)]
    points.append((target.x, target.middle))
    assert source.vertex is not None
    assert target.vertex is not None
    return Curve(source.vertex.id, target.vertex.id, tuple(points))
