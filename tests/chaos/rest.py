"""The REST API as a patient client uses it: what got no answer is sent again, a POST under the same key."""

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import httpx2

PAUSE_SECONDS = 0.25
ONE_ANSWER_SECONDS = 20.0
IN_FLIGHT = "urn:baton:problem:in-flight"


class Rest:
    """One person's or app's side of it. `seen` counts what came back, `no answer` included."""

    def __init__(self, url: str, token: str, seen: Counter[str]) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        limits = httpx2.Limits(max_connections=32, max_keepalive_connections=16)
        self.client = httpx2.AsyncClient(
            base_url=f"{url}/api/v1/", headers=headers, timeout=ONE_ANSWER_SECONDS, limits=limits
        )
        self.seen = seen

    async def get(self, path: str, **query: Any) -> Any:
        """The value; None where there is nothing to be seen."""
        status, value = await self._until_answered("GET", path, params=query)
        return value if status == 200 else None

    async def all(self, path: str, **query: Any) -> list[Any]:
        """Every row of a listing, page after page."""
        rows: list[Any] = []
        page = await self.get(path, limit=200, **query)
        while page:
            rows += page["results"]
            following = page["next"]
            page = await self.get(following.split("/api/v1/")[1]) if following else None
        return rows

    async def post(self, path: str, body: Any, key: str = "") -> tuple[int, Any]:
        """The first answer below 500 that is not "still at work"."""
        return await self._until_answered("POST", path, json=body, headers={"Idempotency-Key": key or str(uuid4())})

    async def _until_answered(self, method: str, path: str, **request: Any) -> tuple[int, Any]:
        while True:
            try:
                response = await self.client.request(method, path, **request)
            except httpx2.HTTPError:
                self.seen["no answer"] += 1
            else:
                self.seen[str(response.status_code)] += 1
                value = _value(response)
                still_at_work = response.status_code == 409 and value.get("type") == IN_FLIGHT
                if response.status_code < 500 and not still_at_work:
                    return response.status_code, value
            await asyncio.sleep(PAUSE_SECONDS)

    async def close(self) -> None:
        await self.client.aclose()


def _value(response: httpx2.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return {}
