"""The comparison: the platform beside its peers, in one run on one machine. `make bench`.

python -m benchmarks                      every case, written to benchmarks/README.md
python -m benchmarks --quick              a fifth of the work, printed only
python -m benchmarks --case flat burst    these cases alone, printed only
"""

import argparse
import os
import sys

from benchmarks import installation, record
from benchmarks.cases import CASES, PEERS, Bench, Section
from benchmarks.platform import Servers
from benchmarks.rounds import Track


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=[*CASES], default=[*CASES])
    parser.add_argument("--quick", action="store_true", help="one round of little work: for a first look")
    parser.add_argument("--rounds", type=int, help="default 3, quick 1")
    parser.add_argument("--runs", type=int, help="of each system in a round; default 200, quick 64")
    parser.add_argument("--processes", type=int, default=2, help="of each system in the case `peers`; default 2")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=[], help="peers that are wanted; default all")
    parser.add_argument("--nice", type=int, default=0, help="negative: take the machine from others (as root)")
    parser.add_argument("--write", action="store_true", help="put the report into README.md, also of a part")
    options = parser.parse_args()
    command = " ".join(["make bench", f"ARGS='{' '.join(sys.argv[1:])}'" if sys.argv[1:] else ""]).strip()
    os.nice(options.nice)  # of all systems alike: they are our children
    sections: list[Section] = []
    with Servers.in_new_folder() as servers:
        head = record.heading(servers, command)
        print(head, flush=True)
        model = servers.start_model()
        installation.enter(servers, model)
        bench = Bench(
            servers,
            model,
            Track(servers, model),
            rounds=options.rounds or (1 if options.quick else 3),
            runs=options.runs or (64 if options.quick else 200),
            is_quick=options.quick,
            processes=options.processes,
            only=frozenset(options.only),
        )
        for name in options.case:
            print(f"\n== {name}: {CASES[name].__doc__}", flush=True)
            sections += CASES[name](bench)
    report = record.text(head, sections)
    print("\n" + report)
    if options.write or (options.case == [*CASES] and not options.quick):
        record.write(report)


if __name__ == "__main__":
    main()
