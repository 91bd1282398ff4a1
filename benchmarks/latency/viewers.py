"""Browsers that watch one run: a process of their own, which prints when each of them heard of each event.

    python -m benchmarks.latency.viewers ws://127.0.0.1:8000/ws/runs/…/?after=0 SESSION --count 50 --last 220

One line of JSON when all are connected, and one at the end: for every seq the moments, in seconds since 1970.
"""

import argparse
import asyncio
import json
import time
from collections import defaultdict
from urllib.parse import urlsplit

from websockets.asyncio.client import connect


async def watch(address: str, session: str, last: int, heard: dict[int, list[float]], ready: asyncio.Semaphore) -> None:
    parts = urlsplit(address)
    origin = f"http://{parts.netloc}"
    headers = {"Cookie": f"sessionid={session}"}
    async with connect(address, origin=origin, additional_headers=headers, compression=None) as socket:  # type: ignore[arg-type]
        async for text in socket:
            at = time.time()
            message = json.loads(text)
            if message["type"] == "live":
                ready.release()
            if (seq := message["seq"]) is not None:
                heard[seq].append(at)
                if seq >= last:
                    return


async def all_of(address: str, session: str, count: int, last: int) -> None:
    heard: dict[int, list[float]] = defaultdict(list)
    ready = asyncio.Semaphore(0)
    watching = [asyncio.create_task(watch(address, session, last, heard, ready)) for _ in range(count)]
    for _ in range(count):
        await ready.acquire()
    print(json.dumps({"watching": count}), flush=True)
    await asyncio.gather(*watching)
    print(json.dumps(heard), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("session")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--last", type=int, required=True, help="the seq after which they leave")
    options = parser.parse_args()
    asyncio.run(all_of(options.address, options.session, options.count, options.last))


if __name__ == "__main__":
    main()
