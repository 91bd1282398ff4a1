import dataclasses

import numpy as np
import pytest

from agents.routing.embedders import WordVectors
from agents.routing.fitting import ENOUGH, Fit, RouteTable, RouteTexts, fit
from tests.agents.routing import desk

EMBEDDER = WordVectors()


@pytest.fixture(scope="module")
def made() -> Fit:
    return fit(desk.table(), EMBEDDER)


@pytest.mark.parametrize("slug", desk.ASKED)
def test_a_request_goes_to_whom_it_is_like(made, slug):
    first = made.score(desk.ASKED[slug], EMBEDDER)[0]

    assert first.slug == slug
    assert first.is_enough


@pytest.mark.parametrize("text", desk.NOBODYS)
def test_what_is_nobodys_is_not_answered(made, text):
    first = made.score(text, EMBEDDER)[0]

    assert not first.is_enough


def test_without_thresholds_what_is_nobodys_would_be_answered(made):
    """The control of the test above: it is the threshold that holds it back, and every text has a likeliest route."""
    careless = dataclasses.replace(made, thresholds=dict.fromkeys(made.slugs, 0.0))

    assert all(careless.score(text, EMBEDDER)[0].is_enough for text in desk.NOBODYS)


def test_a_route_with_few_exemplars_is_a_candidate_and_never_more():
    few = desk.REFUNDS[: ENOUGH - 1]
    made = fit(desk.table(refunds=RouteTexts("refunds", "Refunds: money that goes back", few)), EMBEDDER)

    first = made.score(desk.REFUNDS[0], EMBEDDER)[0]

    assert (first.slug, first.threshold, first.is_enough) == ("refunds", None, False)
    assert made.thresholds["orders"] is not None


def test_a_description_alone_makes_a_candidate():
    table = desk.table(gardens=RouteTexts("gardens", "Gardens: lawns, hedges and flower beds"))

    scored = fit(table, EMBEDDER).score("can you trim the hedges and mow the lawn", EMBEDDER)

    assert scored[0].slug == "gardens"
    assert not scored[0].is_enough


def test_one_route_alone_is_never_decided_for():
    made = fit(RouteTable((RouteTexts("orders", "", desk.ORDERS),)), EMBEDDER)

    assert [one.is_enough for one in made.score("where is my order", EMBEDDER)] == [False]


def test_two_routes_can_be_told_apart():
    made = fit(RouteTable((RouteTexts("jobs", "", desk.JOBS), RouteTexts("orders", "", desk.ORDERS))), EMBEDDER)

    assert made.score(desk.ASKED["jobs"], EMBEDDER)[0].slug == "jobs"
    assert made.figures["held_out"]["outsiders_caught"] is None


def test_a_fit_is_the_same_each_time_and_comes_back_out_of_its_bytes(made):
    again = fit(desk.table(), EMBEDDER)
    kept = Fit.from_bytes(made.to_bytes(), made.thresholds, made.figures)

    assert again.to_bytes() == made.to_bytes()
    for text in (*desk.ASKED.values(), *desk.NOBODYS):
        said, kept_said = made.score(text, EMBEDDER), kept.score(text, EMBEDDER)
        assert [one.slug for one in said] == [one.slug for one in kept_said]
        assert np.allclose([one.probability for one in said], [one.probability for one in kept_said], atol=5e-3)


def test_figures_are_those_of_held_out_exemplars(made):
    held_out = made.figures["held_out"]

    assert made.figures["routes"], made.figures["exemplars"] == (4, 28)
    assert 0.7 <= held_out["right"] <= held_out["right_in_three"] <= 1
    assert set(made.figures["by_route"]) == set(made.slugs)


def test_exemplars_that_say_nothing_are_not_taken_for_knowledge():
    """The control of the figures: labels drawn at random leave nothing to find in what was held out."""
    texts = [*desk.ORDERS, *desk.REFUNDS, *desk.ACCOUNTS, *desk.JOBS]
    dealt = [tuple(texts[place::4]) for place in range(4)]

    made = fit(RouteTable(tuple(RouteTexts(f"agent-{place}", "", own) for place, own in enumerate(dealt))), EMBEDDER)

    assert made.figures["held_out"]["right"] < 0.5


@pytest.mark.parametrize(
    ("other", "embedder"),
    [
        (desk.table(orders=RouteTexts("orders", "Orders: deliveries and their whereabouts", desk.ORDERS[1:])), "one"),
        (desk.table(orders=RouteTexts("orders", "Orders", desk.ORDERS)), "one"),
        (desk.table(newcomer=RouteTexts("newcomer", "anything")), "one"),
        (desk.table(), "another"),
    ],
)
def test_the_digest_tells_tables_apart(other, embedder):
    assert other.digest(embedder) != desk.table().digest("one")


def test_the_digest_is_that_of_the_content():
    shuffled = RouteTexts("orders", "Orders: deliveries and their whereabouts", tuple(reversed(desk.ORDERS)))

    assert desk.table(orders=shuffled).digest("one") == desk.table().digest("one")
