"""From exemplars to a fit: which route a text is like, how sure that is, and from where on a route needs no question.

Pure: no row, no query. What is calibrated, it calibrates on exemplars that were held out of the fit they are judged
by; and on whole routes that were held out, which show what a request looks like that is nobody's.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.routing.embedders import Embedder, Vectors
from agents.routing.features import Rarity, features, rarity
from agents.routing.regression import Numbers, Softmax, fit_logistic, fit_softmax, log_odds, logistic
from orchestrator_site.core import canonical

# Grows when the same exemplars would make another fit, so that every installation fits anew.
RECIPE = 1
# A route with fewer exemplars is offered, never decided for: its threshold would rest on a handful of held-out texts.
ENOUGH = 5
FOLDS = 5
# Thresholds lie as low as they may while no more than WRONG of what is answered is somebody else's or nobody's, and
# never so high that less than ANSWERED of the held-out exemplars is answered.
ANSWERED = 0.9
WRONG = 0.05
# How many nobody's requests are expected for one that is somebody's.
OUTSIDERS = 0.3


@dataclass(frozen=True)
class RouteTexts:
    """What is known of one route; `description` may be empty, `exemplars` too."""

    slug: str
    description: str
    exemplars: tuple[str, ...] = ()

    @property
    def has_enough(self) -> bool:
        return len(self.exemplars) >= ENOUGH


@dataclass(frozen=True)
class RouteTable:
    """All routes, by slug in order. Its digest tells whether a fit was made from it."""

    routes: tuple[RouteTexts, ...]

    def digest(self, embedder: str) -> str:
        told = [[route.slug, route.description, sorted(route.exemplars)] for route in self.routes]
        return canonical.digest(canonical.dumps([RECIPE, embedder, told]))


@dataclass(frozen=True)
class Scored:
    """One route for one text. `threshold`: from there on it needs no question; None: it is never without one."""

    slug: str
    probability: float
    threshold: float | None

    @property
    def is_enough(self) -> bool:
        return self.threshold is not None and self.probability >= self.threshold


@dataclass(frozen=True)
class Fit:
    """`slope` and `offset` turn the regression's own word into the probability that it is right.

    `figures`: {routes, exemplars, held_out: {right, right_in_three, answered, wrong, outsiders_caught}, by_route:
    {slug: {exemplars, right, answered}}}; shares from 0 to 1, null where nothing could be held out. `right`: of a
    route's held-out exemplars those that went to it; `wrong`: of the answered those that went elsewhere.
    """

    embedder: str
    slugs: tuple[str, ...]
    softmax: Softmax
    rarity: Rarity
    slope: float
    offset: float
    thresholds: Mapping[str, float | None]
    figures: Mapping[str, Any]

    def score(self, text: str, embedder: Embedder) -> list[Scored]:
        """Every route, likeliest first. Raises EmbedderFailed."""
        return self.score_all([text], embedder)[0]

    def score_all(self, texts: Sequence[str], embedder: Embedder) -> list[list[Scored]]:
        said = self.softmax.probabilities(features(texts, embedder, self.rarity))
        sure = logistic(self.slope * log_odds(said) + self.offset)
        return [
            [Scored(self.slugs[at], float(row[at]), self.thresholds[self.slugs[at]]) for at in np.argsort(-row)]
            for row in sure
        ]

    def to_bytes(self) -> bytes:
        """The numbers, at half precision; what JSON holds is kept beside them."""
        file = io.BytesIO()
        told = {"slugs": self.slugs, "slope": self.slope, "offset": self.offset, "embedder": self.embedder}
        weights, bias = self.softmax.weights.astype(np.float16), self.softmax.bias.astype(np.float32)
        np.savez(file, weights=weights, bias=bias, rarity=self.rarity, told=np.array(json.dumps(told)))
        return file.getvalue()

    @classmethod
    def from_bytes(cls, kept: bytes, thresholds: Mapping[str, float | None], figures: Mapping[str, Any]) -> "Fit":
        with np.load(io.BytesIO(kept), allow_pickle=False) as file:
            told = json.loads(str(file["told"]))
            softmax = Softmax(file["weights"].astype(np.float32), file["bias"])
            return cls(
                told["embedder"],
                tuple(told["slugs"]),
                softmax,
                file["rarity"],
                told["slope"],
                told["offset"],
                thresholds,
                figures,
            )


def fit(table: RouteTable, embedder: Embedder) -> Fit:
    """Deterministic. Raises EmbedderFailed; ValueError for a table without any route."""
    if not table.routes:
        raise ValueError("There is no route to fit.")
    texts, routes, is_exemplar = _rows(table)
    weighed = rarity(texts)
    seen = features(texts, embedder, weighed)
    softmax = fit_softmax(seen, routes, len(table.routes))
    trial = _held_out(seen, routes, is_exemplar, table)
    slugs = tuple(route.slug for route in table.routes)
    return Fit(
        embedder.name, slugs, softmax, weighed, trial.slope, trial.offset, trial.thresholds(table), trial.figures(table)
    )


def _rows(table: RouteTable) -> tuple[list[str], Numbers, Numbers]:
    """Every text with the number of its route, and whether it is an exemplar: descriptions are never held out."""
    rows = [
        (text, number, place > 0)
        for number, route in enumerate(table.routes)
        for place, text in enumerate((route.description, *route.exemplars))
        if text.strip()
    ]
    if not rows:
        raise ValueError("There is no text to fit.")
    return [row[0] for row in rows], np.array([row[1] for row in rows]), np.array([row[2] for row in rows])


# Held out


@dataclass(frozen=True)
class _Trial:
    """What was said of exemplars of fitted routes that were held out (`routes`: whose they are), and of outsiders.

    `scores` are log-odds of the likeliest route, `said` its number; `third` whether the own route was among three.
    """

    routes: Numbers
    said: Numbers
    scores: Numbers
    third: Numbers
    outsiders_said: Numbers
    outsiders_scores: Numbers
    slope: float
    offset: float
    offsets: Numbers
    bar: float | None

    def thresholds(self, table: RouteTable) -> dict[str, float | None]:
        """A route that draws in what is not its own has a higher one."""
        return {
            route.slug: None
            if self.bar is None or not route.has_enough
            else float(logistic(self.bar - self.offsets[number]))
            for number, route in enumerate(table.routes)
        }

    def figures(self, table: RouteTable) -> dict[str, Any]:
        answered = self._passes(self.said, self.scores)
        right = self.said == self.routes
        caught = ~self._passes(self.outsiders_said, self.outsiders_scores)
        by_route = {}
        for number, route in enumerate(table.routes):
            own = self.routes == number
            by_route[route.slug] = {
                "exemplars": len(route.exemplars),
                "right": _share(right[own]),
                "answered": _share(answered[own]),
            }
        return {
            "routes": len(table.routes),
            "exemplars": sum(len(route.exemplars) for route in table.routes),
            "held_out": {
                "right": _share(right),
                "right_in_three": _share(self.third),
                "answered": _share(answered),
                "wrong": _share(~right[answered]),
                "outsiders_caught": _share(caught),
            },
            "by_route": by_route,
        }

    def _passes(self, said: Numbers, scores: Numbers) -> Numbers:
        if self.bar is None:
            return np.zeros(len(said), bool)
        return self.slope * scores + self.offset + self.offsets[said] >= self.bar


def _share(of: Numbers) -> float | None:
    return round(float(of.mean()), 4) if len(of) else None


def _held_out(seen: Vectors, routes: Numbers, is_exemplar: Numbers, table: RouteTable) -> _Trial:
    count = len(table.routes)
    fitted = np.array([route.has_enough for route in table.routes])
    judged = is_exemplar & fitted[routes]
    if fitted.sum() < 2:
        none, never = np.array([], int), np.array([], float)
        return _Trial(none, none, never, never, none, never, 1.0, 0.0, np.zeros(count), None)
    own = _each_in_turn(seen, routes, judged, count)[judged]
    outsiders = _routes_in_turn(seen, routes, fitted, count)
    whose, said, scores = routes[judged], own.argmax(axis=1), log_odds(own.max(axis=1))
    third = (own > own[np.arange(len(own)), whose][:, None]).sum(axis=1) < 3
    outsiders_said, outsiders_scores = outsiders.argmax(axis=1), log_odds(outsiders.max(axis=1))

    all_said, all_scores = np.r_[said, outsiders_said], np.r_[scores, outsiders_scores]
    right = np.r_[said == whose, np.zeros(len(outsiders))].astype(float)
    weights = np.r_[np.ones(len(own)), np.full(len(outsiders), OUTSIDERS * len(own) / max(len(outsiders), 1))]
    slope, offset, offsets = fit_logistic(all_scores, all_said, right, weights, count)
    word = slope * all_scores + offset + offsets[all_said]
    bar = float(np.quantile(np.where(fitted[said], word[: len(own)], -40.0), 1 - ANSWERED))
    if len(outsiders):
        bar = min(bar, _cleanest(word, right, weights))
    return _Trial(whose, said, scores, third, outsiders_said, outsiders_scores, slope, offset, offsets, bar)


def _each_in_turn(seen: Vectors, routes: Numbers, judged: Numbers, count: int) -> Vectors:
    """What is said of each judged row by a fit that has not seen it; a fold holds a fifth of every route."""
    said = np.zeros((len(seen), count), np.float32)
    folds = _folds(routes, judged)
    for fold in range(FOLDS):
        rest = fit_softmax(seen[folds != fold], routes[folds != fold], count)
        said[folds == fold] = rest.probabilities(seen[folds == fold])
    return said


def _folds(routes: Numbers, judged: Numbers) -> Numbers:
    """By row, the fold in which it is held out; -1: never. Mixed, always in the same way."""
    folds, mixer = np.full(len(routes), -1), np.random.default_rng(0)
    for route in np.unique(routes[judged]):
        rows = mixer.permutation(np.flatnonzero(judged & (routes == route)))
        folds[rows] = np.arange(len(rows)) % FOLDS
    return folds


def _routes_in_turn(seen: Vectors, routes: Numbers, fitted: Numbers, count: int) -> Vectors:
    """What is said of rows by fits that do not know their route. Empty below three routes: one is no choice."""
    said = [np.zeros((0, count), np.float32)]
    for out in _groups(np.flatnonzero(fitted), count):
        inside = np.setdiff1d(np.arange(count), out)
        away = np.isin(routes, out)
        rest = fit_softmax(seen[~away], np.searchsorted(inside, routes[~away]), len(inside))
        rows = np.zeros((int(away.sum()), count), np.float32)
        rows[:, inside] = rest.probabilities(seen[away])
        said.append(rows)
    return np.vstack(said)


def _groups(fitted: Numbers, count: int) -> Iterator[Numbers]:
    if count >= 3:
        mixed = np.random.default_rng(0).permutation(fitted)
        yield from (group for group in np.array_split(mixed, min(FOLDS, len(mixed))) if len(group) <= count - 2)


def _cleanest(word: Numbers, right: Numbers, weights: Numbers) -> float:
    """The lowest bar at which no more than WRONG of what passes is wrong; infinite where there is none."""
    order = np.argsort(-word)
    wrong, all = np.cumsum((weights * (1 - right))[order]), np.cumsum(weights[order])
    clean = np.flatnonzero(wrong <= WRONG * all)
    return float(word[order][clean[-1]]) if len(clean) else float("inf")
