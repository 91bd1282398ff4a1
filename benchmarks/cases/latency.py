"""What somebody waits for, on the real processes: two workers and a web process."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from benchmarks.cases.bench import Bench
from benchmarks.latency.figures import Figure, section
from benchmarks.measure import counting_strangers
from benchmarks.platform import Servers, Workers
from benchmarks.report import Section
from orchestrator_site.services import processes

PARTS = ("alone", "publishing", "watching", "accepting")
WORKERS, THREADS = 2, 32


def latency(bench: Bench) -> Iterator[Section]:
    """One run alone, publishing, watching, accepting: how long each takes, one after the other."""
    found: list[Figure] = []
    with counting_strangers() as strangers, working(bench.servers), serving(bench.servers) as url:
        for name, measure in _measures(bench, url).items():
            if not bench.options.parts or name in bench.options.parts:
                print(f"  {name}", flush=True)
                found += measure()
    yield section("What somebody waits for", found, strangers[0])


@contextmanager
def working(servers: Servers) -> Iterator[Workers]:
    workers = Workers(servers, count=WORKERS, threads=THREADS)
    try:
        yield workers
    finally:
        workers.stop()


@contextmanager
def serving(servers: Servers) -> Iterator[str]:
    """The address of a web process."""
    from tests.stack import free_port

    port = free_port()
    web = processes.web(port=port, env={}, logs=servers.logs)
    web.start()
    try:
        web.wait_ready()
        yield f"http://127.0.0.1:{port}"
    finally:
        web.stop()


def _measures(bench: Bench, url: str) -> Mapping[str, Callable[[], list[Figure]]]:
    """Imported only now: they use Django's models."""
    from benchmarks.latency import accepting, alone, publishing, watching

    part = 5 if bench.options.is_quick else 1
    return {
        "alone": lambda: alone.measure(bench.servers, bench.model, runs=5 // part),
        "publishing": lambda: publishing.measure(bench.servers, times=150 // part),
        "watching": lambda: watching.measure(url, viewers=50, number=200 // part),
        "accepting": lambda: accepting.measure(url, rate=20, seconds=30 // part),
    }
