"""Makes `weights.json` of the demo's model server from the phrasings: `python -m tests.demo.train_scorer [--cross]`.

Multinomial logistic regression by Adagrad, with a fixed seed: the same phrasings give the same weights.
`--cross` writes nothing and prints how well texts are labelled that were left out of the training: each file by itself.
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

from tests.demo.phrasings_report import FOLDER, rows_in

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
    """Each file is labelled by weights that never saw it; then all files together in `FOLDS` parts."""
    files = {path.stem: samples_of(texts_in(path)) for path in sorted(FOLDER.glob("*.csv"))}
    for left_out, tested in files.items():
        others = [sample for name, samples in files.items() if name != left_out for sample in samples]
        print(f"{left_out:12} left out: {_share_right(train(others), tested):.1%} of {len(tested)}")
    everything = [sample for samples in files.values() for sample in samples]
    random.Random(7).shuffle(everything)
    shares = []
    for fold in range(FOLDS):
        tested = everything[fold::FOLDS]
        taught = [sample for at, sample in enumerate(everything) if at % FOLDS != fold]
        shares.append(_share_right(train(taught), tested))
    print(f"{FOLDS} folds: {sum(shares) / FOLDS:.1%}")


def _share_right(weights: dict[str, list[float]], samples: list[Sample]) -> float:
    from orchestrator_site.demo.model_server.scorer import weigh

    right = 0
    for sample in samples:
        likely = weigh(weights, list(sample.evidence))
        right += likely.index(max(likely)) == sample.label
    return right / len(samples)


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
