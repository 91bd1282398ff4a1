"""Check a folder once more, apart from the platform: `python -m tests.chaos.checker FOLDER`."""

import sys
from pathlib import Path

from tests.chaos.checker import LINES, check
from tests.chaos.checker.material import read

SHOWN = 20


def main() -> int:
    verdict = check(read(Path(sys.argv[1])))
    for line in LINES:
        print(f"{line:50} {verdict.count(line)}")
        for sentence in verdict.findings[line][:SHOWN]:
            print(f"    {sentence}")
    return 0 if verdict.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
