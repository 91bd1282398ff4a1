"""How well the semantic stage of routing chooses, alone and offline, on labelled requests that you bring.

python -m benchmarks.routing PATH.csv            prints the figures; columns text,agent, an empty agent: nobody's
python -m benchmarks.routing PATH.csv --write    and writes them into benchmarks/README.md

Each seed splits the requests of every agent into exemplars, calibration and test; of what is nobody's nothing is
learnt from. docs/routing.md says what the figures mean. It needs no server.
"""

import argparse
import csv
import os
import platform
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import psutil

from benchmarks import record
from benchmarks.report import Section, Target, table

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")

from agents.routing import embedders
from agents.routing.fitting import ENOUGH, Fit, RouteTable, RouteTexts, Scored, fit
from agents.routing.regression import log_odds

SEEDS = (1, 2, 3)
EXEMPLARS, CALIBRATION = 10, 20
KEPT = 0.9
# As many agents as an installation has; all other requests of the file are nobody's then.
FEW = 12
BEGIN, END = "<!-- routing: written by `python -m benchmarks.routing` -->", "<!-- end of routing -->"

Labelled = tuple[str, str]  # a request, and whose it is


@dataclass(frozen=True)
class Split:
    table: RouteTable
    calibration: Sequence[Labelled]
    test: Sequence[Labelled]
    nobodys: Sequence[str]


@dataclass(frozen=True)
class Found:
    """Shares from 0 to 1. `kept_*`: with the bar moved, for all routes alike, to where KEPT of calibration passes."""

    first: float
    three: float
    answered: float
    wrong: float
    caught: float
    kept_answered: float
    kept_wrong: float
    kept_caught: float
    fit_seconds: float
    fit_cpu_seconds: float
    milliseconds: float
    kilobytes: float

    @property
    def cells(self) -> Sequence[str]:
        shares = (self.first, self.three, self.answered, self.wrong, self.caught)
        kept = (self.kept_answered, self.kept_wrong, self.kept_caught)
        return [*(f"{100 * share:.1f} %" for share in (*shares, *kept)), f"{self.fit_cpu_seconds:.1f}"]


HEAD = (
    "top-1",
    "top-3",
    "answered",
    "of them wrong",
    "nobody's caught",
    "bar moved: answered",
    "of them wrong",
    "nobody's caught",
    "fit, CPU s",
)


def main() -> None:
    asked = _parser().parse_args()
    requests = _read(asked.path)
    embedder = embedders.configured()
    before = psutil.Process().memory_info().rss
    embedder.embed(["the first one loads the files"])
    megabytes = (psutil.Process().memory_info().rss - before) / 2**20

    full = [measure(split(requests, seed, EXEMPLARS), embedder) for seed in SEEDS]
    few = [measure(_few(split(requests, seed, EXEMPLARS), seed), embedder) for seed in SEEDS]
    section = Section(f"{embedder.name}, {EXEMPLARS} exemplars an agent", ["seed", *HEAD])
    section.rows = [[str(seed), *found.cells] for seed, found in zip(SEEDS, full, strict=True)]
    section.rows += [
        [f"{count} exemplars, median", *_median(requests, count, embedder)]
        for count in (ENOUGH, 2 * EXEMPLARS)
        if count + CALIBRATION < _fewest(requests)
    ]
    section.rows.append(
        [f"{FEW} agents, median", *_middle(few).cells],
    )
    section.targets = _targets(full)
    section.remarks = _remarks(full, requests, megabytes)

    text = "\n\n".join(
        [
            table(("what", "target", "measured", ""), [target.cells for target in section.targets]),
            f"**{section.title}**",
            table(section.head, section.rows),
            *section.remarks,
        ]
    )
    print(text)
    if asked.write:
        record.between(record.README, BEGIN, END, text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="a CSV of labelled requests: text,agent")
    parser.add_argument("--write", action="store_true", help="write the figures into benchmarks/README.md")
    return parser


def _read(path: Path) -> dict[str, list[str]]:
    """By agent; nobody's under the empty name."""
    requests = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            requests[row["agent"].strip()].append(row["text"])
    if len(requests) < 3:
        raise SystemExit(f"{path} has requests of fewer than two agents; its columns must be text,agent.")
    return dict(requests)


def _fewest(requests: dict[str, list[str]]) -> int:
    return min(len(texts) for agent, texts in requests.items() if agent)


def split(requests: dict[str, list[str]], seed: int, exemplars: int) -> Split:
    """Of each agent's requests, mixed: exemplars, CALIBRATION, and the rest to test; all of nobody's to test."""
    mixer = random.Random(seed)
    routes, calibration, test = [], [], []
    for agent in sorted(set(requests) - {""}):
        texts = mixer.sample(requests[agent], len(requests[agent]))
        routes.append(RouteTexts(agent, "", tuple(texts[:exemplars])))
        calibration += [(text, agent) for text in texts[exemplars : exemplars + CALIBRATION]]
        test += [(text, agent) for text in texts[exemplars + CALIBRATION :]]
    return Split(RouteTable(tuple(routes)), calibration, test, requests.get("", []))


def _few(whole: Split, seed: int) -> Split:
    chosen = {route.slug for route in random.Random(seed).sample(whole.table.routes, FEW)}
    others = [text for text, agent in whole.test if agent not in chosen]
    return Split(
        RouteTable(tuple(route for route in whole.table.routes if route.slug in chosen)),
        [(text, agent) for text, agent in whole.calibration if agent in chosen],
        [(text, agent) for text, agent in whole.test if agent in chosen],
        [*whole.nobodys, *random.Random(seed).sample(others, len(whole.nobodys))],
    )


def measure(split: Split, embedder: embedders.Embedder) -> Found:
    began, began_cpu = perf_counter(), process_time()
    made = fit(split.table, embedder)
    fit_seconds, fit_cpu_seconds = perf_counter() - began, process_time() - began_cpu
    kept = made.to_bytes()
    made = Fit.from_bytes(kept, made.thresholds, made.figures)  # as it is served: out of its row

    said = made.score_all([text for text, _ in split.test], embedder)
    nobodys = made.score_all(split.nobodys, embedder)
    right = np.array([each[0].slug == agent for each, (_, agent) in zip(said, split.test, strict=True)])
    three = [agent in {one.slug for one in each[:3]} for each, (_, agent) in zip(said, split.test, strict=True)]
    over, over_nobodys = _over(said), _over(nobodys)
    bar = float(np.quantile(_over(made.score_all([text for text, _ in split.calibration], embedder)), 1 - KEPT))
    return Found(
        first=float(right.mean()),
        three=float(np.mean(three)),
        answered=float((over >= 0).mean()),
        wrong=float((~right[over >= 0]).mean()),
        caught=float((over_nobodys < 0).mean()),
        kept_answered=float((over >= bar).mean()),
        kept_wrong=float((~right[over >= bar]).mean()),
        kept_caught=float((over_nobodys < bar).mean()),
        fit_seconds=fit_seconds,
        fit_cpu_seconds=fit_cpu_seconds,
        milliseconds=_one_by_one(made, embedder, [text for text, _ in split.test[:300]]),
        kilobytes=len(kept) / 1024,
    )


def _over(said: Sequence[Sequence[Scored]]) -> np.ndarray:
    """How far the likeliest route's probability lies above its threshold, in log-odds."""
    return np.array([log_odds(each[0].probability) - log_odds(each[0].threshold) for each in said])


def _one_by_one(made: Fit, embedder: embedders.Embedder, texts: Sequence[str]) -> float:
    """The median of a request alone, in milliseconds."""
    return statistics.median(_timed(made, embedder, texts))


def _timed(made: Fit, embedder: embedders.Embedder, texts: Sequence[str]) -> Iterator[float]:
    for text in texts:
        began = perf_counter()
        made.score(text, embedder)
        yield 1000 * (perf_counter() - began)


def _middle(found: Sequence[Found]) -> Found:
    names = Found.__dataclass_fields__
    return Found(**{name: statistics.median(getattr(each, name) for each in found) for name in names})


def _median(requests: dict[str, list[str]], exemplars: int, embedder: embedders.Embedder) -> Sequence[str]:
    return _middle([measure(split(requests, seed, exemplars), embedder) for seed in SEEDS]).cells


def _targets(found: Sequence[Found]) -> list[Target]:
    """Of the worst seed."""

    def worst(what: str, limit: float, name: str, is_ceiling: bool = False) -> Target:
        figures = [getattr(each, name) for each in found]
        figure = max(figures) if is_ceiling else min(figures)
        is_met = figure <= limit if is_ceiling else figure >= limit
        return Target(what, f"{'≤' if is_ceiling else '≥'} {100 * limit:.0f} %", f"{100 * figure:.1f} %", is_met)

    return [
        worst("the right agent first", 0.83, "first"),
        worst("the right agent among three", 0.94, "three"),
        worst("keeping 90 % answered: of them wrong", 0.11, "kept_wrong", is_ceiling=True),
        worst("keeping 90 % answered: nobody's caught", 0.75, "kept_caught"),
    ]


def _remarks(found: Sequence[Found], requests: dict[str, list[str]], megabytes: float) -> list[str]:
    middle = _middle(found)
    agents = len(set(requests) - {""})
    return [
        f"{agents} agents, {sum(map(len, requests.values()))} requests, {len(requests.get('', []))} of them nobody's; "
        f"targets are held against the worst seed. A request alone takes {middle.milliseconds:.2f} ms; a fit with its "
        f"calibration {middle.fit_seconds:.1f} s ({middle.fit_cpu_seconds:.1f} s CPU), and {middle.kilobytes:.0f} KiB "
        f"in its row; the embedder's files {megabytes:.0f} MB of a process. {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, numpy {np.__version__}, at commit `{record.commit()}`."
    ]


if __name__ == "__main__":
    main()
