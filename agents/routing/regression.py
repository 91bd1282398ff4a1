"""Softmax regression over the features, and the logistic one that says how far its word may be taken. Numpy alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.routing.embedders import Vectors

Numbers = np.ndarray[Any, np.dtype[Any]]

PENALTY = 3e-5
# Accelerated steps from zero. More of them learn the exemplars by heart: on the public set the figures fall again.
STEPS = 60


@dataclass(frozen=True)
class Softmax:
    """`weights`: features × routes; `bias`: routes."""

    weights: Vectors
    bias: Numbers

    def probabilities(self, features: Vectors) -> Vectors:
        return _softmax(features @ self.weights + self.bias)


def fit_softmax(features: Vectors, routes: Numbers, count: int) -> Softmax:
    """`routes`: the number of each row's route, below `count`. Deterministic.

    A route weighs as the root of its rows: who was given many exemplars does not drown who has few.
    """
    shares = 1 / np.sqrt(np.maximum(np.bincount(routes, minlength=count), 1))[routes]
    shares = (shares / shares.sum()).astype(np.float32)[:, None]
    wanted = np.zeros((len(features), count), np.float32)
    wanted[np.arange(len(features)), routes] = 1

    steepness = 0.5 * _largest_eigenvalue(features * np.sqrt(shares)) + PENALTY
    weights, bias = np.zeros((features.shape[1], count), np.float32), np.zeros(count, np.float32)
    ahead, bias_ahead, pace = weights, bias, 1.0
    for _ in range(STEPS):
        gradient = (_softmax(features @ ahead + bias_ahead) - wanted) * shares
        new = ahead - (features.T @ gradient + PENALTY * ahead) / steepness
        bias_new = bias_ahead - gradient.sum(axis=0) / steepness
        next_pace = (1 + np.sqrt(1 + 4 * pace * pace)) / 2
        momentum = np.float32((pace - 1) / next_pace)
        ahead, bias_ahead = new + momentum * (new - weights), bias_new + momentum * (bias_new - bias)
        weights, bias, pace = new, bias_new, next_pace
    return Softmax(weights, bias)


def _softmax(scores: Vectors) -> Vectors:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _largest_eigenvalue(rows: Vectors) -> float:
    """Of rows' Gram matrix, a little from above: by power iteration, which comes from below."""
    direction = np.ones(rows.shape[1], np.float32)
    for _ in range(20):
        direction = rows.T @ (rows @ direction)
        direction /= max(float(np.linalg.norm(direction)), 1e-12)
    return 1.05 * float(np.linalg.norm(rows @ direction) ** 2)


# One route's offset is believed as far as this many held-out rows would outweigh.
_STEADINESS = 10.0


def fit_logistic(
    scores: Numbers, routes: Numbers, right: Numbers, weights: Numbers, count: int
) -> tuple[float, float, Numbers]:
    """Slope, offset, and an offset of each route, such that 1/(1+e^-(slope·score + offset + route's)) says `right`.

    By Newton's method. The routes' offsets are drawn to nothing, the more so the fewer rows a route has.
    """
    columns = np.zeros((len(scores), count + 2))
    columns[:, 0], columns[:, 1] = scores, 1
    columns[np.arange(len(scores)), routes + 2] = 1
    penalty = np.r_[1e-3, 1e-3, np.full(count, _STEADINESS)]
    found = np.r_[1.0, 0.0, np.zeros(count)]
    for _ in range(30):
        said = logistic(columns @ found)
        gradient = columns.T @ (weights * (said - right)) + penalty * found
        bend = (columns * (weights * said * (1 - said))[:, None]).T @ columns + np.diag(penalty)
        found = found - np.linalg.solve(bend, gradient)
    return float(found[0]), float(found[1]), found[2:]


def logistic(value: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(value, -40, 40)))


def log_odds(probability: Any) -> Any:
    sure = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.log(sure / (1 - sure))
