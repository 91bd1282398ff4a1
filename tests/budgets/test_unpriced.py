"""A model without prices is never asked: the next of the chain is, else a person gives it prices or ends it."""

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError

from agents.models import PRICES, ModelEntry
from runs import states
from runs.models import Step
from tests.runs import cast
from tests.runs.cast import agent, carry_all, decide, request_of, script, start, text

pytestmark = pytest.mark.django_db(transaction=True)

UNPRICED = dict.fromkeys(PRICES)


def test_the_next_of_the_chain_is_asked(model, ann):
    cast.model(model.url, "novel", **UNPRICED)
    agent(models=("novel", "scripted"))

    run = carry_all(start(ann, script(text("Hello."))))

    assert run.output == "Hello."
    assert Step.objects.get().model == "scripted"


def test_a_person_is_asked_where_there_is_no_other_and_goes_on_once_it_has_prices(model, ann, bob):
    entry = cast.model(model.url, "novel", **UNPRICED)
    agent(models=("novel",))
    run = carry_all(start(ann, script(text("Hello.")), budget_usd=Decimal(1)))

    assert run.status == states.WAITING
    assert model.count() == 0
    assert request_of(run).reasons == [
        "novel is not asked. It has no price in the catalogue, so that no budget could hold. "
        "Give its prices, 0 where it costs nothing."
    ]

    for price in PRICES:
        setattr(entry, price, Decimal(0))
    entry.save()
    decide(request_of(run), bob)

    assert carry_all(run).output == "Hello."
    assert Step.objects.get().cost_usd == 0


def test_prices_are_given_whole_or_not_at_all(model):
    entry = ModelEntry.objects.get(name="scripted")
    entry.output_price = None

    with pytest.raises(ValidationError, match="Give all four prices"):
        entry.full_clean()
