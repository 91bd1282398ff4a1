"""`python -m orchestrator_site.demo.model_server --port N`: the demo model server as a process of its own.

`DEMO_MODEL_WORD_DELAY_SECONDS` (default 0.015) is the pause before each streamed word; 0 streams at once.
"""

import os

from orchestrator_site.demo import wire
from orchestrator_site.demo.model_server.mind import mind
from orchestrator_site.demo.model_server.protocol import MessagesServer

DEFAULT_PORT = 8028
MODELS = ("baton-demo-1",)


def main() -> None:
    arguments = wire.parser(__doc__.splitlines()[0], port=DEFAULT_PORT)
    options = arguments.parse_args()
    delay_seconds = float(os.environ.get("DEMO_MODEL_WORD_DELAY_SECONDS", "0.015"))
    server = MessagesServer(mind, delay_seconds=delay_seconds, models=MODELS)
    wire.run(server, options.host, options.port, announce="demo model")


if __name__ == "__main__":
    main()
