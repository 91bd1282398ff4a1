from decimal import Decimal

from agents import catalogue, roster
from agents.pricing import cost_usd, worst_case_usd
from agents.values import Usage
from tests.agents.cast import entry

USAGE = Usage(input_tokens=1000, output_tokens=200, cache_read_tokens=50_000, cache_write_tokens=4000)


def test_cache_reads_and_writes_have_prices_of_their_own(small_model):
    assert cost_usd(small_model.spec(), USAGE) == Decimal("0.012")


def test_the_worst_case_is_never_below_the_cost_of_what_was_bounded(small_model):
    bound = USAGE.input_tokens + USAGE.cache_read_tokens + USAGE.cache_write_tokens

    assert worst_case_usd(small_model.spec(), bound, USAGE.output_tokens) == Decimal("0.06975")


def test_one_token_costs_a_fraction_that_is_not_rounded_away(small_model):
    assert cost_usd(small_model.spec(), Usage(input_tokens=1)) == Decimal("0.000001")


def test_the_catalogue_knows_enabled_models_only(db):
    entry("resting", enabled=False)
    entry("small", endpoint="http://127.0.0.1:1/")

    served = roster.today()
    assert catalogue.model("resting", served) is None
    assert catalogue.model("nobody", served) is None
    small = catalogue.model("small", served)
    assert small is not None
    assert small.endpoint == "http://127.0.0.1:1/"
