"""What a model call costs, in US dollars. Exact: sums of tokens times prices, rounded nowhere."""

from decimal import Decimal

from agents.values import ModelSpec, Usage

MILLION = Decimal(1_000_000)


def cost_usd(model: ModelSpec, usage: Usage) -> Decimal:
    return (
        usage.input_tokens * model.input_price
        + usage.output_tokens * model.output_price
        + usage.cache_read_tokens * model.cache_read_price
        + usage.cache_write_tokens * model.cache_write_price
    ) / MILLION


def worst_case_usd(model: ModelSpec, input_bound_tokens: int, max_tokens: int) -> Decimal:
    """What to reserve: every input token at the dearest input rate, every output token used."""
    dearest_input = max(model.input_price, model.cache_read_price, model.cache_write_price)
    return (input_bound_tokens * dearest_input + max_tokens * model.output_price) / MILLION
