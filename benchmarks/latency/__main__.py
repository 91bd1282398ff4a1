"""Every latency that is promised, measured against its target, on the real processes.

    python -m benchmarks.latency [--only waiting alone publishing watching accepting] [--quick] [--write]

PostgreSQL with fsync on, Redis, two workers, one web process and the fake model server, all started here and ended at
the end. A figure is the worst of what the machine did meanwhile: run it on one that does nothing else.
"""

import argparse
import sys
from collections.abc import Callable

from benchmarks import installation, record
from benchmarks.latency.figures import Figure, table, write
from benchmarks.platform import Model, Servers, Workers
from orchestrator_site.services import processes
from orchestrator_site.services.child import Child

NAMES = ("alone", "publishing", "watching", "accepting", "waiting")
WORKERS, THREADS = 2, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--quick", action="store_true", help="a fifth of the samples")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    options = parser.parse_args()
    with Servers.in_new_folder(statements=True, commit_times=True) as servers:
        command = " ".join(["python -m benchmarks.latency", *sys.argv[1:]])
        head = record.heading(servers, command)
        print(head, flush=True)
        model = servers.start_model()
        installation.enter(servers, model)
        workers = Workers(servers, count=WORKERS, threads=THREADS)
        web = _web(servers)
        try:
            figures = []
            for name in options.only:
                found = _measures(servers, model, workers, web, 5 if options.quick else 1)[name]()
                print(table(found), flush=True)
                figures += found
        finally:
            web.stop()
            workers.stop()
    report = f"{head}\n\n{table(figures)}"
    print("\n" + report)
    if options.write:
        write(report)


def _web(servers: Servers) -> Child:
    from tests.stack import free_port

    web = processes.web(port=free_port(), env={}, logs=servers.logs)
    web.start()
    web.wait_ready()
    return web


def _measures(
    servers: Servers, model: Model, workers: Workers, web: Child, part: int
) -> dict[str, Callable[[], list[Figure]]]:
    """Imported only now: they use Django's models."""
    from benchmarks.latency import accepting, alone, publishing, waiting, watching

    url = f"http://127.0.0.1:{web.argv[web.argv.index('--port') + 1]}"
    return {
        "alone": lambda: alone.measure(servers, model, runs=max(1, 5 // part)),
        "publishing": lambda: publishing.measure(servers, times=150 // part),
        "watching": lambda: watching.measure(url, viewers=50, number=200 // part),
        "accepting": lambda: accepting.measure(url, rate=20, seconds=30 // part),
        "waiting": lambda: waiting.measure(servers, workers, waiting=10_000 // part, decided=300 // part),
    }


if __name__ == "__main__":
    main()
