"""Keeps children alive, says every birth and death in one line, and stops them in order."""

import signal
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from .child import Child
from .errors import KeepsDying, StopRequested

DEATHS_ALLOWED = 5
WITHIN_SECONDS = 60.0
# Wait before the n-th restart within that time, the last for all that follow: the first is immediate.
BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0)
LOOK_EVERY_SECONDS = 0.05
EXIT_HOOK_TRIES = 10
EXIT_HOOK_PAUSE_SECONDS = 1.0

OnExit = Callable[[str, int], None]


@dataclass
class _Death:
    """An exit that a hook has still to be told of."""

    name: str
    pid: int
    hook: OnExit
    tries: int = 0
    not_before: float = 0.0


@dataclass
class Supervisor:
    """All methods belong to the main thread: the kernel ties a child's life to the thread that spawned it.

    on_exit: told `(name, pid)` of every process that was seen to exit, after the restart of what died with it;
    a hook that raises is asked again, since the database it writes to may have died in the same moment.
    """

    say: Callable[[str], None] = print
    on_start: Callable[[str, int], None] = lambda name, pid: None
    on_exit: list[OnExit] = field(default_factory=list)
    children: dict[str, Child] = field(default_factory=dict)
    stop_requested: bool = field(default=False, init=False)
    _hurry: bool = field(default=False, init=False)
    _deaths: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque), init=False)
    _due: dict[str, float] = field(default_factory=dict, init=False)
    _untold: list[_Death] = field(default_factory=list, init=False)
    _old_handlers: dict[int, Any] = field(default_factory=dict, init=False)

    def listen_to_signals(self) -> None:
        """INT, TERM and HUP ask for a stop, a second one for a quick end.

        Said explicitly: a shell starts its background jobs with INT ignored, and no KeyboardInterrupt would come.
        """
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._old_handlers[signum] = signal.signal(signum, self._on_signal)

    def restore_signals(self) -> None:
        for signum, handler in self._old_handlers.items():
            signal.signal(signum, handler)
        self._old_handlers.clear()

    def spawn(self, child: Child) -> Child:
        """Start without waiting until it is ready."""
        self.give_up_if_asked_to()
        child.start()
        self.children[child.name] = child
        self.on_start(child.name, child.pid)
        return child

    def start(self, *children: Child) -> None:
        """Start side by side, and wait until all are ready."""
        for child in children:
            self.spawn(child)
        for child in children:
            started = time.monotonic()
            child.wait_ready(until=self.give_up_if_asked_to)
            self.say(f"{child.name} is ready, pid {child.pid}" + _waited(started))

    def give_up_if_asked_to(self) -> None:
        if self.stop_requested:
            raise StopRequested

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Look after the children until a signal asks to stop or `until()` says so; raises `KeepsDying`."""
        while not (self.stop_requested or until()):
            self.look()
            time.sleep(LOOK_EVERY_SECONDS)

    def look(self) -> None:
        """One round: note deaths, restart what is due, tell the hooks."""
        for child in [*self.children.values()]:
            if child.name not in self._due and not child.is_alive():
                self._note_death(child)
        now = time.monotonic()
        for name in [name for name, due in self._due.items() if due <= now]:
            del self._due[name]
            self.say(f"{name} is started again, pid {self.spawn(self.children[name]).pid}")
        self._tell_hooks(now)

    def stop(self, *names: str) -> None:
        """Stop the named children, or all: stage by stage, side by side within one."""
        wanted = [self.children.pop(name) for name in names or [*self.children] if name in self.children]
        for stage in sorted({child.stage for child in wanted}):
            self._stop_together([child for child in wanted if child.stage == stage])

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._hurry = self.stop_requested
        self.stop_requested = True

    def _note_death(self, child: Child) -> None:
        now = time.monotonic()
        deaths = self._deaths[child.name]
        deaths.append(now)
        while deaths and deaths[0] < now - WITHIN_SECONDS:
            deaths.popleft()
        self.say(f"{child.name}, pid {child.pid}, ended with {_reason(child.exit_code)}")
        self._untold += [_Death(child.name, child.pid, hook) for hook in self.on_exit]
        if len(deaths) >= DEATHS_ALLOWED and not child.is_never_given_up:
            raise KeepsDying(
                f"{child.name} died {len(deaths)} times within {WITHIN_SECONDS:g} s: giving up. {child.last_words()}"
            )
        self._due[child.name] = now + BACKOFF_SECONDS[min(len(deaths), len(BACKOFF_SECONDS)) - 1]

    def _tell_hooks(self, now: float) -> None:
        waiting, self._untold = self._untold, []
        for death in waiting:
            if death.not_before > now:
                self._untold.append(death)
            else:
                self._tell(death)

    def _tell(self, death: _Death) -> None:
        try:
            death.hook(death.name, death.pid)
        except Exception as error:
            death.tries += 1
            death.not_before = time.monotonic() + EXIT_HOOK_PAUSE_SECONDS
            if death.tries < EXIT_HOOK_TRIES:
                self._untold.append(death)
            else:
                self.say(f"nobody could be told that {death.name}, pid {death.pid}, is gone: {error}")

    def _stop_together(self, children: list[Child]) -> None:
        for child in children:
            child.ask_to_stop()
        started = time.monotonic()
        for child in children:
            self._await_end(child, started)

    def _await_end(self, child: Child, started: float) -> None:
        while child.is_alive() and not self._hurry and time.monotonic() < started + child.stop_seconds:
            time.sleep(0.01)
        if child.wait_stopped(0):
            self.say(f"{child.name} is stopped")
        else:
            self.say(f"{child.name} did not stop in {time.monotonic() - started:.0f} s and was killed")


def _waited(started: float) -> str:
    seconds = time.monotonic() - started
    return f", after {seconds:.1f} s" if seconds >= 0.1 else ""


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
