"""What a policy would have made of many recorded rulings, counted. Plain values that go to JSON and back."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from tools.arguments import as_number
from tools.policies import replaying
from tools.policies.replaying import ALONE, Again, BeforeAnyPolicy, NotRecorded, Recorded
from tools.policies.values import Policy

MOST_SAMPLES = 20
# Of one kind of flip, so that a common one leaves room for the others.
SAMPLES_ALIKE = 3
# Between the parts of a key.
APART = " → "
WITHOUT_A_RULE = "no rule"


@dataclass
class Tally:
    """`flips_by_*`: by "<name> → <was> → <would be>". `not_recorded`: by fact, in how many rulings it would be needed.

    `money_more`, `money_fewer`: by "<tool>.<argument>", as decimal text, what would run, or would no longer, without a
    person. `samples`: of flips, {…names, tool, was, would_be, rule, reasons}. `matched`: rules that held at least once.
    """

    seen: int = 0
    judged: int = 0
    before_any_policy: int = 0
    not_recorded: dict[str, int] = field(default_factory=dict)
    unclear: int = 0
    was: dict[str, int] = field(default_factory=dict)
    would_be: dict[str, int] = field(default_factory=dict)
    flips: int = 0
    flips_by_rule: dict[str, int] = field(default_factory=dict)
    flips_by_agent: dict[str, int] = field(default_factory=dict)
    flips_by_tool: dict[str, int] = field(default_factory=dict)
    approvals_more: int = 0
    approvals_fewer: int = 0
    money_more: dict[str, str] = field(default_factory=dict)
    money_fewer: dict[str, str] = field(default_factory=dict)
    matched: list[str] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, recorded: Recorded, policy: Policy) -> None:
        self.seen += 1
        try:
            judged = replaying.again(recorded, policy)
        except BeforeAnyPolicy:
            self.before_any_policy += 1
            return
        except NotRecorded as lacking:
            self.unclear += 1
            for name in lacking.names:
                _one_more(self.not_recorded, name)
            return
        self.judged += 1
        _one_more(self.was, judged.was)
        _one_more(self.would_be, judged.would_be)
        self._match(policy, judged)
        if judged.is_flip:
            self._flip(recorded, judged)

    def _match(self, policy: Policy, judged: Again) -> None:
        if len(self.matched) < len(policy.rules):
            left = (rule for rule in policy.rules if rule.name not in self.matched)
            self.matched += [rule.name for rule in left if judged.reading.holds(rule)]

    def _flip(self, recorded: Recorded, judged: Again) -> None:
        self.flips += 1
        how = APART.join((judged.was, judged.would_be))
        rule = judged.rule or recorded.rule
        by_rule = APART.join((rule or WITHOUT_A_RULE, how))
        _one_more(self.flips_by_rule, by_rule)
        _one_more(self.flips_by_agent, APART.join((judged.agent, how)))
        _one_more(self.flips_by_tool, APART.join((recorded.tool, how)))
        asked, asks = (word.startswith(replaying.ASKS) for word in (judged.was, judged.would_be))
        self.approvals_more += asks and not asked
        self.approvals_fewer += asked and not asks
        self._pay(recorded, judged)
        self._sample(recorded, judged, rule)

    def _pay(self, recorded: Recorded, judged: Again) -> None:
        was, would_be = judged.was in ALONE, judged.would_be in ALONE
        if was == would_be:
            return
        sums = self.money_more if would_be else self.money_fewer
        for name in recorded.amounts:
            if amount := as_number(recorded.arguments.get(name)):
                key = f"{recorded.tool}.{name}"
                sums[key] = str(Decimal(sums.get(key, "0")) + amount)

    def _sample(self, recorded: Recorded, judged: Again, rule: str) -> None:
        kind = {"tool": recorded.tool, "was": judged.was, "would_be": judged.would_be, "rule": rule}
        alike = sum(kind.items() <= sample.items() for sample in self.samples)
        if alike < SAMPLES_ALIKE and len(self.samples) < MOST_SAMPLES:
            self.samples.append({**recorded.names, **kind, "reasons": list(judged.reasons)})

    def without_match(self, policy: Policy) -> list[str]:
        """Rules that held for nothing that was judged, in the policy's order."""
        return [rule.name for rule in policy.rules if rule.name not in self.matched]

    def told(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Tally":
        return cls(**told)


def _one_more(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def as_lines(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Of `flips_by_…`, the most frequent first: {name, was, would_be, count}."""
    ordered = Counter(counts).most_common()
    return [
        {"name": name, "was": was, "would_be": would_be, "count": count}
        for key, count in ordered
        for name, was, would_be in [key.rsplit(APART, 2)]
    ]
