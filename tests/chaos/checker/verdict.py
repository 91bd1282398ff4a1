"""All parts of the checker, one after the other."""

from tests.chaos.checker import bijection, decided, effects, leasing, money, movers, promises, stopping, turns, work
from tests.chaos.checker.findings import LINES, Verdict
from tests.chaos.checker.material import Material

PARTS = (work, effects, promises, leasing, bijection, stopping, money, turns, decided, movers)

__all__ = ["LINES", "Verdict", "check"]


def check(material: Material) -> Verdict:
    verdict = Verdict()
    for part in PARTS:
        part.check(material, verdict)
    return verdict
