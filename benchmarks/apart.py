"""One case in a process of its own: Django is set up once in a process, for one installation."""

import multiprocessing
from multiprocessing.connection import Connection

from benchmarks import installation, record
from benchmarks.cases import CASES
from benchmarks.cases.bench import Bench, Options
from benchmarks.platform import Servers
from benchmarks.record import Measured
from benchmarks.rounds import Track


def measured(name: str, command: str, options: Options) -> Measured:
    """Raises SystemExit when the case broke off."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(name, command, options, theirs))
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except BaseException as broken:
        process.terminate()  # it clears away what it started
        if isinstance(broken, EOFError):
            raise SystemExit(f"The case {name} broke off; why, it has said above.") from None
        raise
    finally:
        process.join()
    return found


def _measure(name: str, command: str, options: Options, answer: Connection) -> None:
    case = CASES[name]
    with Servers.in_new_folder(statements=case.statements, commit_times=case.commit_times) as servers:
        where, commit = record.machine(servers), record.commit()
        print(f"\n== {name}, at commit {commit}: {where}\n{case.run.__doc__}", flush=True)
        model = servers.start_model()
        installation.enter(servers, model)
        found = Measured(commit, command, where, [*case.run(Bench(servers, model, Track(servers, model), options))])
    answer.send(found)
