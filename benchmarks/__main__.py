"""What the platform costs, how fast it is and how far it goes, beside its peers and its targets. `make bench`.

python -m benchmarks                            every case in full, written to benchmarks/README.md
python -m benchmarks --quick                    a fifth of the work, printed only
python -m benchmarks --case latency history     these cases alone, in full, written in place of their own figures

Every case runs in a process of its own, on servers of its own that end with it.
"""

import argparse
import os
import signal
import sys

from benchmarks import apart, record, scaling
from benchmarks.cases import CASES
from benchmarks.cases.bench import PEERS, Options
from benchmarks.cases.latency import PARTS
from benchmarks.platform import end


def main() -> None:
    asked = _parser().parse_args()
    signal.signal(signal.SIGTERM, end)
    os.nice(asked.nice)  # of all systems alike: they are our children
    options = Options(
        rounds=asked.rounds or (1 if asked.quick else 3),
        runs=asked.runs or (64 if asked.quick else 200),
        is_quick=asked.quick,
        processes=asked.processes,
        peers=frozenset(asked.only),
        parts=frozenset(asked.part),
    )
    command = " ".join(["make bench", f"ARGS='{' '.join(sys.argv[1:])}'" if sys.argv[1:] else ""]).strip()
    for name in [name for name in CASES if name in asked.case]:
        found = {name: apart.measured(name, command, options)}
        print("\n" + record.text(found) + "\n", flush=True)
        if asked.write or not asked.quick:
            record.keep(found, [*CASES])
            scaling.write(record.kept())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=[*CASES], default=[*CASES])
    parser.add_argument("--quick", action="store_true", help="one round of little work: for a first look")
    parser.add_argument("--rounds", type=int, help="default 3, quick 1")
    parser.add_argument("--runs", type=int, help="of each system in a round; default 200, quick 64")
    parser.add_argument("--processes", type=int, default=2, help="of each system in the case `peers`; default 2")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=[], help="peers that are wanted; default all")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=[], help="parts of `latency`; default all")
    parser.add_argument("--nice", type=int, default=0, help="negative: take the machine from others (as root)")
    parser.add_argument("--write", action="store_true", help="write what a quick look found too")
    return parser


if __name__ == "__main__":
    main()
