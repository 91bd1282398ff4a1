"""How well the demo model understands texts it was and was not taught."""

import pytest

from tests.demo.phrasings_report import FOLDER, decision_faults, report_on, rows_in

# These files are what the weights were made of: the floors only say that nothing was lost.
LEAST_TAUGHT = 0.97


# Every third text is enough to see that something was lost; `python -m tests.demo.phrasings_report` walks them all.
SAMPLE = slice(None, None, 3)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.csv")), ids=lambda path: path.name)
def test_what_was_taught_is_understood(path):
    rows = rows_in(path)[SAMPLE]

    misunderstood = [row.text for row in rows if decision_faults(row)]

    assert 1 - len(misunderstood) / len(rows) >= LEAST_TAUGHT, misunderstood


# Written by somebody who saw no rule, and never taught, tuned to, nor looked at while rules were written.
LEAST_UNSEEN = 0.9


def test_what_nobody_was_taught_is_understood():
    report = report_on(FOLDER / "unseen" / "strangers.csv")

    assert report.decision_accuracy >= LEAST_UNSEEN, "see the figure, not the texts: they are for measuring alone"
