"""A web process that polls, beats and checks many times a second: what takes half a minute can be waited for."""

import sys

import uvicorn

from orchestrator_site.asgi import application
from runs.live import doorbells, following, guards, hub
from tests.waiting import PATIENCE_SECONDS

hub.POLL_SECONDS = hub.DEGRADED_POLL_SECONDS = 0.2
following.BEAT_SECONDS = 1.0
guards.CHECK_SECONDS = 0.9
doorbells.SILENCE_SECONDS = doorbells.ANSWER_SECONDS = 0.3

if __name__ == "__main__":
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), timeout_graceful_shutdown=2 * PATIENCE_SECONDS)
