"""Weighs the evidence of a text for each label: a linear model whose weights are a table in `weights.json`.

The table is made by `python -m tests.demo.train_scorer` from the phrasings beside the tests, and is part of the source:
the same text is always read the same way.
"""

import json
import math
from functools import lru_cache
from pathlib import Path

from orchestrator_site.demo.model_server.evidence import evidence_in
from orchestrator_site.demo.model_server.hints import Hints

WEIGHTS = Path(__file__).with_name("weights.json")
LABELS = (
    "where_is_it",
    "order_details",
    "compare_orders",
    "complaint",
    "refund",
    "cancel",
    "change_address",
    "write_customer",
    "multi",
    "ambiguous",
    "out_of_scope",
)
Weights = dict[str, list[float]]


@lru_cache(maxsize=1)
def weights() -> Weights:
    """Evidence -> its weight for each of `LABELS`."""
    table: Weights = json.loads(WEIGHTS.read_text(encoding="utf-8"))["weights"]
    return table


def likelihoods(hints: Hints) -> dict[str, float]:
    """How likely each label is; together they make 1."""
    return dict(zip(LABELS, weigh(weights(), evidence_in(hints)), strict=True))


def weigh(table: Weights, evidence: list[str]) -> list[float]:
    rows = [table[name] for name in evidence if name in table]
    if not rows:
        return [1 / len(LABELS)] * len(LABELS)
    return softmax([sum(column) / math.sqrt(len(evidence)) for column in zip(*rows, strict=True)])


def softmax(points: list[float]) -> list[float]:
    most = max(points)
    raised = [math.exp(point - most) for point in points]
    total = sum(raised)
    return [value / total for value in raised]
