"""The house's drawing, read from the sources: who imports or refers to whom, and what that breaks.

Nothing is imported: every file is parsed. Imports count wherever they stand, also inside a function, and so do model
references written as text ("approvals.ApprovalRequest").
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

# What each room may use, beside itself. `demo` stands on the whole house, and nothing stands on it.
MAY_USE = {
    "core": set[str](),
    "tools": {"core"},
    "agents": {"core", "tools"},
    "approvals": {"core", "tools"},
    "runs": {"core", "tools", "agents", "approvals"},
    "site": {"core", "tools", "agents", "approvals", "runs"},
    "demo": {"core", "tools", "agents", "approvals", "runs", "site"},
}
# Longest first: the ground floor and the demo lie inside the site's package.
PACKAGES = {
    "orchestrator_site.core": "core",
    "orchestrator_site.demo": "demo",
    "orchestrator_site": "site",
    "tools": "tools",
    "agents": "agents",
    "approvals": "approvals",
    "runs": "runs",
}
LABELS = {"core", "tools", "agents", "approvals", "runs", "demo"}
RELATIONS = {"ForeignKey", "OneToOneField", "ManyToManyField"}
ONLY_IMPORTER = {"anthropic": "agents.llm"}


@dataclass(frozen=True)
class Use:
    """One mention of a module, or of a room by a model's label."""

    line: int
    target: str
    room: str | None


@dataclass(frozen=True)
class Source:
    path: Path
    module: str

    @property
    def room(self) -> str:
        room = room_of(self.module)
        assert room is not None
        return room

    @property
    def mentions(self) -> tuple[ast.Import | ast.ImportFrom | ast.Call, ...]:
        """Where it may name another module."""
        return _mentions(self.path, self.path.stat().st_mtime_ns)


@cache
def _mentions(path: Path, modified_ns: int) -> tuple[ast.Import | ast.ImportFrom | ast.Call, ...]:
    tree = ast.parse(path.read_text(), str(path))
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom | ast.Call))


def violations(root: Path) -> list[str]:
    """One line a violation, with its file and line; empty when the house stands as drawn."""
    sources = {source.module: source for source in _sources(root)}
    found: list[str] = []
    for source in sources.values():
        where = source.path.relative_to(root)
        objections = ((use.line, _objection(source, use)) for use in _uses(source, sources))
        found += [f"{where}:{line}: {objection}" for line, objection in objections if objection]
    return sorted(found) + _circles(sources)


def room_of(module: str) -> str | None:
    for package, room in PACKAGES.items():
        if module == package or module.startswith(f"{package}."):
            return room
    return None


def _objection(source: Source, use: Use) -> str | None:
    only = ONLY_IMPORTER.get(use.target.split(".")[0])
    if only and source.module != only:
        return f"only {only} imports {use.target}"
    if use.room is None or use.room == source.room or use.room in MAY_USE[source.room]:
        return None
    return f"{source.room} may not use {use.room} ({use.target})"


def _sources(root: Path) -> Iterator[Source]:
    for top in sorted({package.split(".")[0] for package in PACKAGES}):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield Source(path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts))


def _uses(source: Source, sources: dict[str, Source]) -> Iterator[Use]:
    for node in source.mentions:
        if isinstance(node, ast.Import):
            yield from (_use(node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(source, node)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield _use(node, whole if whole in sources else base)
        else:
            yield from _text_uses(node)


def _use(node: ast.stmt | ast.expr, target: str) -> Use:
    return Use(node.lineno, target, room_of(target))


def _base(source: Source, node: ast.ImportFrom) -> str:
    """The package that `from` names, with a relative one made whole."""
    if not node.level:
        return node.module or ""
    is_package = source.path.name == "__init__.py"
    parts = source.module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _text_uses(call: ast.Call) -> Iterator[Use]:
    """Models and modules that a call names as text."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "to")]
    for value in given:
        if not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
            continue
        label = value.value.split(".")[0]
        if ((name in RELATIONS and "." in value.value) or name == "get_model") and label in LABELS:
            yield Use(call.lineno, value.value, label)
        elif name in {"import_module", "import_string", "__import__"}:
            yield _use(call, value.value)


def _circles(sources: dict[str, Source]) -> list[str]:
    """Per room, the first circle of files, if there is one. Migrations form no circle by construction."""
    found = []
    for room in MAY_USE:
        own = {name: source for name, source in sources.items() if source.room == room and ".migrations" not in name}
        graph = {name: {use.target for use in _uses(source, sources)} & own.keys() for name, source in own.items()}
        try:
            TopologicalSorter({name: used - {name} for name, used in graph.items()}).prepare()
        except CycleError as error:
            found.append(f"{room}: a circle of files: {' <- '.join(error.args[1])}")
    return found
