"""A draft of the policy tried on the past."""

from collections.abc import Iterator
from statistics import median

from benchmarks.cases.bench import Bench
from benchmarks.cases.history import timed
from benchmarks.measure import counting_strangers, spread
from benchmarks.report import Section, Target

RULINGS = 10_000
TARGET_SECONDS = 10
RULES = (1, 10, 50)


def replay(bench: Bench) -> Iterator[Section]:
    """10,000 recorded rulings judged again by drafts of 1, 10 and 50 rules, from the rows to the saved result."""
    from benchmarks import past
    from runs.models import ToolCall
    from tests.model_fixtures import running
    from tests.runs import callables  # noqa: F401  (registers the past's tools)

    rulings = RULINGS // 5 if bench.options.is_quick else RULINGS
    with running("tests.scripted_model") as model:
        past.fill(model.url, runs=rulings, waiting_runs=10)
    there = ToolCall.objects.exclude(ruling="").count()
    section = Section(
        f"A draft tried on {rulings:,} of {there:,} recorded rulings, by one worker thread",
        ("rules of the draft", "seconds", "µs a ruling", "flips"),
    )
    slowest = 0.0
    with counting_strangers() as strangers:
        for count in RULES:
            found = [_carried(count, rulings) for _ in range(bench.options.rounds)]
            seconds = [each for each, _ in found]
            slowest = max(slowest, median(seconds))
            micro = 1e6 * median(seconds) / rulings
            section.rows.append((str(count), spread(seconds), f"{micro:.0f}", f"{found[-1][1]:,}"))
    section.remarks.append(f"{100 * strangers[0]:.0f} % of the machine went to processes that are not the benchmark's.")
    limit = TARGET_SECONDS * rulings / RULINGS
    what = f"{rulings:,} rulings under the draft that takes longest"
    section.targets.append(Target(what, f"< {limit:g} s", f"{slowest:.1f} s", slowest < limit))
    yield section


def _carried(rules: int, rulings: int) -> tuple[float, int]:
    """Seconds, and flips."""
    from runs import states
    from runs.models import Simulation, ToolCall
    from runs.policies import simulating

    began = ToolCall.objects.exclude(ruling="").order_by("-pk").values_list("created_at", flat=True)[rulings - 1]
    asked = simulating.ask(None, by=None, value=_draft(rules), since=began)
    _, seconds = timed(lambda: simulating.carry(asked.pk))
    done = Simulation.objects.get(pk=asked.pk)
    assert done.status == states.DONE, done.error
    assert done.found().judged >= 0.9 * rulings, done.tally
    return seconds, done.found().flips


def _draft(rules: int):  # type: ignore[no-untyped-def]
    """Rules that each have to be evaluated; the first flips what was asked about."""
    from tools.policies.values import Outcome, Policy, Rule, Scope

    first = Rule("small", Outcome.NOTIFY, Scope(tool="pay_out"), "double(args.amount) <= 50.0", "Small.")
    more = [
        Rule(
            f"rule {number}",
            Outcome.ASK,
            condition=f"has(args.order) && args.order.startsWith('B-{number}') && 'untrusted' in taint",
            says="Looked at.",
        )
        for number in range(1, rules)
    ]
    return Policy("draft", (first, *more))
