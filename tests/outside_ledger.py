"""The judge of the crash tests: an outside world that counts what really happened, in a process nobody kills.

POST /effects {key, arguments}   makes an effect (once a key when they say `dedupe`), replies after `hold_seconds`,
                                 the first time a key is seen after POST /release, where they say `hold_first`
POST /release                    what is held so is answered; what comes later is held anew
GET /effects/<key>               200 with the effect, 404 without
GET /effects                     all effects, in order: [{key, arguments, requests}]
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_lock = threading.Lock()
_effects: list[dict[str, Any]] = []
_released = threading.Event()
HOLD_LIMIT_SECONDS = 120


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        if self.path == "/release":
            _release()
            self._reply(200, {})
            return
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = self.headers.get("Idempotency-Key") or body.get("key")
        arguments = body.get("arguments", body)
        is_known = any(effect["key"] == key for effect in _effects)
        effect = _make(key, arguments)
        released = _released
        time.sleep(float(arguments.get("hold_seconds", 0)))
        if arguments.get("hold_first") and not is_known:
            released.wait(HOLD_LIMIT_SECONDS)
        self._reply(200, {"made": effect["key"]})

    def do_GET(self) -> None:
        if self.path == "/effects":
            self._reply(200, _effects)
            return
        key = self.path.removeprefix("/effects/")
        found = next((effect for effect in _effects if effect["key"] == key), None)
        self._reply(200 if found else 404, {"made": key} if found else {"error": "no such effect"})

    def _reply(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def _release() -> None:
    global _released
    held, _released = _released, threading.Event()
    held.set()


def _make(key: str, arguments: dict[str, Any]) -> dict[str, Any]:
    with _lock:
        if arguments.get("dedupe"):
            for effect in _effects:
                if effect["key"] == key:
                    effect["requests"] += 1
                    return effect
        effect = {"key": key, "arguments": arguments, "requests": 1}
        _effects.append(effect)
        return effect


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler)
    print(f"outside ledger ready on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
