"""One direction, no circle: the drawing of the house that cannot go stale. A planted violation fails it."""

import shutil
from pathlib import Path

import pytest

from tests.architecture import MAY_USE, PACKAGES, room_of, violations

ROOT = Path(__file__).resolve().parent.parent


def test_the_house_stands_as_drawn():
    assert violations(ROOT) == []


def test_every_installed_room_is_drawn(settings):
    own = [app for app in settings.INSTALLED_APPS if (ROOT / app.replace(".", "/")).is_dir()]

    assert set(own) == set(PACKAGES)


def test_the_drawing_itself_has_one_direction():
    for room, below in MAY_USE.items():
        assert not [lower for lower in below if room in MAY_USE[lower]]
        assert all(MAY_USE[lower] <= below for lower in below)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the sources, to plant violations in."""
    copy = tmp_path_factory.mktemp("house")
    for top in {package.split(".")[0] for package in PACKAGES}:
        shutil.copytree(ROOT / top, copy / top, ignore=shutil.ignore_patterns("__pycache__", "static", "*.html"))
    return copy


@pytest.fixture
def plant(house):
    """Add text to a file of the copy, and take it out again."""
    planted = []

    def plant(path, text):
        file = house / path
        before = file.read_text() if file.exists() else None
        planted.append((file, before))
        file.write_text(f"{before or ''}\n{text}\n")
        return violations(house)

    yield plant
    for file, before in planted:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)


PLANTED = {
    "an upward import": ("tools/gate.py", "from runs import intake", "tools may not use runs"),
    "one of a whole module": ("agents/roster.py", "import runs.models", "agents may not use runs"),
    "one inside a function": (
        "approvals/requests.py",
        "def later():\n    from runs.intake import start\n    return start",
        "approvals may not use runs",
    ),
    "one for types alone": (
        "tools/values.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from agents.values import Limits",
        "tools may not use agents",
    ),
    "neighbours": ("agents/values.py", "from approvals.models import Decision", "agents may not use approvals"),
    "neighbours the other way": ("approvals/kinds.py", "import agents.roster", "approvals may not use agents"),
    "a relative one": ("runs/engine/turn.py", "from ...orchestrator_site import settings", "runs may not use site"),
    "the site": ("runs/values.py", "from orchestrator_site import urls", "runs may not use site"),
    "the ground looking up": ("orchestrator_site/core/clock.py", "import tools.values", "core may not use tools"),
    "the demo": ("orchestrator_site/celery.py", "from orchestrator_site.demo import desk", "site may not use demo"),
    "a key upward": (
        "approvals/models.py",
        'class Odd(models.Model):\n    run = models.ForeignKey("runs.Run", on_delete=models.PROTECT)',
        "approvals may not use runs (runs.Run)",
    ),
    "a key upward by name": (
        "tools/models.py",
        'class Odd(models.Model):\n    run = models.ManyToManyField(to="runs.Run")',
        "tools may not use runs (runs.Run)",
    ),
    "a model asked for by name": (
        "agents/receivers.py",
        'from django.apps import apps\nRun = apps.get_model("runs", "Run")',
        "agents may not use runs (runs)",
    ),
    "a module by its text": (
        "tools/conditions.py",
        'import importlib\nimportlib.import_module("runs.intake")',
        "tools may not use runs (runs.intake)",
    ),
    "the SDK elsewhere": ("runs/carrier.py", "import anthropic", "only agents.llm imports anthropic"),
    "a part of the SDK": (
        "orchestrator_site/demo/desk.py",
        "from anthropic.types import Message",
        "only agents.llm imports anthropic.types",
    ),
}


@pytest.mark.parametrize(("path", "text", "sentence"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_found_with_its_line(plant, path, text, sentence):
    found = [line for line in plant(path, text) if sentence in line]

    assert found
    assert found[0].startswith(f"{path}:")


def test_a_planted_circle_is_found(plant):
    found = plant("runs/states.py", "def later():\n    from runs import lifecycle\n    return lifecycle")

    assert any(line.startswith("runs: a circle of files:") and "runs.lifecycle" in line for line in found)


def test_a_circle_through_a_package_is_found(plant):
    found = plant("runs/models/runs.py", "from runs.models import Dispatch")

    assert any("runs.models.runs" in line and "circle" in line for line in found)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("runs/values.py", "from approvals.models import Decision"),
        ("runs/models/calls.py", 'key = models.ForeignKey("approvals.ApprovalRequest", on_delete=models.PROTECT)'),
        ("tools/values.py", "import anthropomorphic"),
        ("agents/values.py", 'RUNS = "runs.Run"'),
    ],
)
def test_control_what_is_allowed_is_not_found(plant, path, text):
    assert plant(path, text) == []


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("orchestrator_site.core.events", "core"),
        ("orchestrator_site.demo.desk", "demo"),
        ("orchestrator_site.coreography", "site"),
        ("runs", "runs"),
        ("runserver", None),
    ],
)
def test_a_module_lies_in_one_room(module, room):
    assert room_of(module) == room
