"""The tool of the benchmark as callables of the platform; workers register them by BATON_CALLABLES."""

from benchmarks.work import record_text
from tools import callables
from tools.values import CallContext


@callables.register("bench.read", trusted=True)
def read(*, record: int, size: int) -> str:
    return record_text(record, size)


@callables.register("bench.effect")
def effect(*, record: int, size: int, call: CallContext) -> str:
    """As a keyed tool: in a child process, under the call's idempotency key."""
    return record_text(record, size)
