"""Makes `weights.json` of the demo's model server from the phrasings: `python -m tests.demo.train_scorer [--cross]`.

Multinomial logistic regression by Adagrad, with a fixed seed: the same phrasings give the same weights.
`--cross` writes nothing and prints how many texts are decided right that were left out of the training.
"""

import json
import math
import os
import random
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from unittest import mock

from tests.demo.phrasings_report import FOLDER, Row, decision_faults, rows_in

EPOCHS, RATE, SHRINK = 25, 0.25, 1e-4
HIDDEN = 0.4  # share of the cue evidence hidden at each sight: the cues know these very files, strangers they will not
LEAST_SEEN, LEAST_WEIGHT = 2, 0.05
FOLDS = 5


@dataclass(frozen=True)
class Sample:
    evidence: tuple[str, ...]
    label: int


def samples_of(texts: list[tuple[str, str]]) -> list[Sample]:
    from orchestrator_site.demo.model_server.evidence import coarse, evidence_in
    from orchestrator_site.demo.model_server.hints import hints_in
    from orchestrator_site.demo.model_server.scorer import LABELS
    from orchestrator_site.demo.model_server.spelling import spaced
    from orchestrator_site.demo.model_server.tokens import tokenize

    found = []
    for text, label in texts:
        text = spaced(text)
        found.append(Sample(tuple(evidence_in(hints_in(text, tokenize(text)))), LABELS.index(coarse(label))))
    return found


def texts_in(path: Path) -> list[tuple[str, str]]:
    return [(row.text, row.intent) for row in rows_in(path)]


def routers_own() -> list[tuple[str, str]]:
    """The sentences in which the router hands a wish on: the workers must read them without fail."""
    from orchestrator_site.demo.model_server.router import DOING

    texts = []
    filled = {
        str(intent): [
            line.format(orders=orders, amount=" of 8.50 euros" if intent == "partial_refund" else "") + "."
            for orders in ("order 1042", "order 1042 and order 1043", "an order whose number is not known")
        ]
        for intent, line in DOING.items()
    }
    filled["partial_refund"].append("Refund 12.50 euros on order 1042.")
    for intent, lines in filled.items():
        texts += [(line, intent) for line in lines] * 2
    for first, second in combinations(filled, 2):
        if {first, second} != {"refund", "partial_refund"}:
            texts.append((f"{filled[first][0]} {filled[second][0]}", "multi"))
            texts.append((f"{filled[second][0]} {filled[first][0]}", "multi"))
    return texts


def train(samples: list[Sample]) -> dict[str, list[float]]:
    from orchestrator_site.demo.model_server.scorer import LABELS, softmax

    chance = random.Random(1)
    seen = Counter(name for sample in samples for name in sample.evidence)
    weights = {name: [0.0] * len(LABELS) for name, count in seen.items() if count >= LEAST_SEEN}
    steps = {name: [1e-3] * len(LABELS) for name in weights}
    order = list(samples)
    for _ in range(EPOCHS):
        chance.shuffle(order)
        for sample in order:
            names = [name for name in sample.evidence if name in weights and not _is_hidden(name, chance)]
            scale = 1 / math.sqrt(len(sample.evidence))
            likely = softmax([scale * sum(column) for column in zip(*(weights[name] for name in names), strict=True)])
            slope = [scale * (value - (at == sample.label)) for at, value in enumerate(likely)]
            for name in names:
                _step(weights[name], steps[name], slope)
    return {
        name: [round(w, 2) for w in row] for name, row in sorted(weights.items()) if max(map(abs, row)) > LEAST_WEIGHT
    }


def _is_hidden(name: str, chance: random.Random) -> bool:
    return name.startswith(("hint:", "cue")) and chance.random() < HIDDEN


def _step(row: list[float], steps: list[float], slope: list[float]) -> None:
    for at, value in enumerate(slope):
        change = value + SHRINK * row[at]
        steps[at] += change * change
        row[at] -= RATE * change / math.sqrt(steps[at])


def cross_validate() -> None:
    """Each file by weights that never saw it; then the largest one in `FOLDS` parts, by all that is left."""
    paths = sorted(FOLDER.glob("*.csv"))
    for path in paths:
        rows, others = rows_in(path), [row for other in paths if other != path for row in rows_in(other)]
        print(f"{path.stem:12} left out: {_told(decided_right(rows, others), len(rows))}")
    largest = max(paths, key=lambda path: len(rows_in(path)))
    rows, rest = rows_in(largest), [row for other in paths if other != largest for row in rows_in(other)]
    random.Random(7).shuffle(rows)
    right = 0
    for fold in range(FOLDS):
        right += decided_right(rows[fold::FOLDS], rest + [row for at, row in enumerate(rows) if at % FOLDS != fold])
    print(f"{largest.stem:12} in {FOLDS} folds: {_told(right, len(rows))}")


def _told(right: int, count: int) -> str:
    return f"{right / count:.1%} of {count} decided right"


def decided_right(tested: list[Row], taught: list[Row]) -> int:
    """How many rows are decided right by weights that were made of others."""
    from orchestrator_site.demo.model_server import reading, scorer

    table = train(samples_of([(row.text, row.intent) for row in taught] + routers_own()))
    with mock.patch.object(scorer, "weights", return_value=table):
        reading.read.cache_clear()
        right = sum(not decision_faults(row) for row in tested)
    reading.read.cache_clear()
    return right


def write_weights() -> None:
    from orchestrator_site.demo.model_server.scorer import LABELS, WEIGHTS

    texts = [text for path in sorted(FOLDER.glob("*.csv")) for text in texts_in(path)]
    weights = train(samples_of(texts + routers_own()))
    lines = ",\n".join(f" {json.dumps(name, ensure_ascii=False)}: {json.dumps(row)}" for name, row in weights.items())
    WEIGHTS.write_text(f'{{"labels": {json.dumps(LABELS)},\n"weights": {{\n{lines}\n}}}}\n', encoding="utf-8")
    print(f"{len(texts)} texts, {len(weights)} pieces of evidence, {WEIGHTS.stat().st_size // 1024} KiB")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    cross_validate() if "--cross" in sys.argv else write_weights()


if __name__ == "__main__":
    main()
