"""Every pattern once more, by real workers: what they do side by side comes to the same, in rows and on the wire."""

import pytest
from django.contrib.auth.models import User

from runs import comments, states
from runs.models import Run
from tests.model_fixtures import ScriptedModel
from tests.plans import patterns
from tests.plans.patterns import Patterns
from tests.runs import callables  # noqa: F401  registers them
from tests.scenarios import Scenario, carried, looked_at, start_workers
from tests.stack import Stack
from tests.waiting import eventually

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True)]


def test_every_pattern_comes_to_its_result(
    model: ScriptedModel, stack: Stack, ann: User, bob: User, subtests: pytest.Subtests
) -> None:
    patterns.company(model)
    start_workers(stack)
    scenarios = Patterns(model, ann, bob).all()

    carried(scenarios, model, subtests)

    with subtests.test(scenario="a node done again"):
        _again(scenarios["one after another"], model, bob)


def _again(scenario: Scenario, model: ScriptedModel, by: User) -> None:
    """A person comments on the first node, and what came after it is done again, too."""
    run, before = scenario.run, model.count()
    old = list(run.nodes.filter(key__in=["a", "b"]).order_by("number"))
    comments.comment(run.pk, old[0].pk, "Look at order 8 instead.", by)

    eventually(lambda: Run.objects.get(pk=run.pk).status == states.SUCCEEDED)

    seen = looked_at({"again": scenario}, model)["again"]
    kept = [(each.key, each.status, each.superseded) for each in run.nodes.filter(pk__in=[each.pk for each in old])]
    assert kept == [("a", states.SUCCEEDED, True), ("b", states.SUCCEEDED, True)]
    assert [(each.node.key, each.node.superseded) for each in seen.tries()] == [
        *[("a", True), ("b", True)],
        *[("a", False), ("b", False)],
    ]
    first = seen.told("a")
    assert first.startswith(f"Task: {old[0].task}\n\nA person has read what was made of this task before, and says:")
    assert "Look at order 8 instead." in first
    assert ": order 7 is late" in first  # what it came to before
    reference = seen.node("a").artifact.reference  # type: ignore[union-attr]
    assert f"({reference}): order 7 is late" in seen.told("b")
    assert "Look at order 8 instead." not in seen.told("b")
    assert seen.requests("a")[-1].ended_at <= seen.requests("b")[0].began_at
    assert model.count() == before + 3
