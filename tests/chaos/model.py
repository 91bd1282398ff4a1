"""The model server of the nemesis: the scripted one, with bad weather.

POST /weather {"kind": "429" | "500" | "529" | "reset" | "truncate" | "garbage" | "hang" | "slow", "seconds": s}
makes that happen to every request of the next s seconds, whatever its script says; {} clears the sky.
"""

import asyncio
import time

from orchestrator_site.demo import wire
from orchestrator_site.demo.model_server.protocol import Body
from tests.scripted_model import ScriptedServer, fault_response

SLOW_SECONDS = 1.5
FAULTS: dict[str, Body] = {
    "429": {"status": 429, "retry_after": 1},
    "500": {"status": 500},
    "529": {"status": 529},
    "reset": {"reset": True},
    "truncate": {"truncate": True},
    "garbage": {"garbage": True},
    "hang": {"hang": True},
}


class WeatheredServer(ScriptedServer):
    def __init__(self) -> None:
        super().__init__()
        self.weather, self.until = "", 0.0

    async def route(self, request: wire.Request) -> wire.Response:
        if (request.method, request.path) == ("POST", "/weather"):
            asked = request.json()
            self.weather = asked.get("kind", "")
            self.until = time.monotonic() + asked.get("seconds", 0)
            return wire.json_response({})
        return await super().route(request)

    def _record(self, body: Body) -> Body:
        self.total += 1
        return {}

    async def create(self, body: Body) -> wire.Response:
        weather = self.weather if time.monotonic() < self.until else ""
        if weather == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        elif weather:
            return await fault_response(FAULTS[weather], body, FOUL)
        return await super().create(body)


FOUL: Body = {
    "id": "msg_foul",
    "type": "message",
    "role": "assistant",
    "model": "scripted",
    "content": [{"type": "text", "text": "This reply does not get far."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 10},
}


def main() -> None:
    options = wire.parser(__doc__.splitlines()[0], port=0).parse_args()
    wire.run(WeatheredServer(), options.host, options.port, announce="scripted model")


if __name__ == "__main__":
    main()
