"""The page about policies tells of every fact and of every outcome, and of no other."""

import re
from pathlib import Path

from tools.policies import facts
from tools.policies.values import Outcome

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "policies.md").read_text()
ROW = re.compile(r"^\| `([a-z_.]+)` \| (.*?) \| (.*) \|$", re.MULTILINE)


def test_every_fact_is_told_as_the_code_has_it():
    told = PAGE.split("## Facts", 1)[1]

    expected = {
        name: (
            str(fact.kind),
            fact.says + (" (recorded only where a rule asks for it)" if name in facts.ON_DEMAND else ""),
        )
        for name, fact in facts.FACTS.items()
    }
    assert {name: (kind, says) for name, kind, says in ROW.findall(told)} == expected


def test_every_outcome_is_told_from_the_laxest_to_the_strictest():
    told = re.findall(r"^\| `([a-z_]+)` \|", PAGE.split("## Windows", 1)[0], re.MULTILINE)

    assert told == list(Outcome)
