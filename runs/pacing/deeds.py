"""What is about to be begun, as switches and limits see it; and what holds it up."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from agents import catalogue
from agents.values import ModelSpec
from runs.models import Dispatch
from tools.executors.secrets import declared
from tools.values import ToolSpec


@dataclass(frozen=True)
class Deed:
    """One tool call or, where `tool` is empty, one model call. `app` is the id of the run's owner.

    `credentials` are the NAMEs of the references it is sent with, `host` is where to, where that is one;
    `model` is the one asked.
    """

    app: int
    agent: str
    tool: str = ""
    credentials: frozenset[str] = frozenset()
    host: str = ""
    model: str = ""

    @property
    def is_model_call(self) -> bool:
        return not self.tool

    def named(self, scope: str) -> Iterable[str]:
        """What it is counted under in a scope."""
        match scope:
            case "app":
                return [str(self.app)]
            case "agent":
                return [self.agent]
            case "tool":
                return [self.tool] if self.tool else []
            case "credential":
                return sorted(self.credentials)
            case "model":
                return [self.model] if self.model else []
        return [self.host] if self.host else []


@dataclass(frozen=True)
class Held:
    """`on` is the rest of a sentence that begins with "waits for"; `by` names what holds it up.

    `due_at`: when it is to be tried again, where that is known.
    """

    on: str
    by: str
    due_at: dt.datetime | None = None


def of_call(dispatch: Dispatch, spec: ToolSpec) -> Deed:
    """Expects run, manifest and agent to be joined."""
    url = spec.config.get("url")
    return Deed(
        dispatch.run.owner_id,
        dispatch.manifest.agent.slug,
        spec.name,
        declared(spec.config),
        _host(url) if isinstance(url, str) else "",
    )


def of_model_call(dispatch: Dispatch, model: ModelSpec) -> Deed:
    """Expects run, manifest and agent to be joined."""
    return Deed(
        dispatch.run.owner_id,
        dispatch.manifest.agent.slug,
        credentials=frozenset({catalogue.key_name(model)}),
        host=_host(catalogue.endpoint(model)),
        model=model.name,
    )


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
