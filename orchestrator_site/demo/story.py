"""The demo's story: real work through the real API, told live, each claim checked where it can be seen."""

import time
import traceback
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx2
from django.conf import settings
from django.db import connection

from agents.models import Agent, RosterEpoch, WorkerRoster
from approvals.models import ApprovalRequest
from orchestrator_site.core import checkpoints, verify
from orchestrator_site.demo import seed
from orchestrator_site.demo.models import Order
from orchestrator_site.demo.trace import Trace
from orchestrator_site.demo.world import World
from orchestrator_site.services.platform import Platform
from runs.models import Run

# How long a scene waits for the machine; for a person it waits as long as it takes.
PATIENCE_SECONDS = 90

WARRANTY = {
    "title": "Warranty",
    "owns": "Warranty claims: repairs of broken devices under guarantee.",
    "kind": "worker",
    "system_prompt": "You take warranty claims at the customer desk of a mail-order shop. Read the order, then say that "
    "the claim is noted and that a repair label comes by e-mail within two days. Answer in two friendly sentences.",
    "grants": [{"tool": "get_order"}, {"tool": "find_orders"}],
}


# Every order with a number that ends in 2 is late.
LATE = (1042, 1052, 1062, 1072, 1082)


class Unexpected(Exception):
    """A scene cannot go on."""


class Api:
    """One person's or app's access to the REST API."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx2.Client(
            base_url=f"{url}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        )

    def get(self, path: str) -> Any:
        return self._answer(self._client.get(path))

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._answer(self._client.post(path, json=body or {}))

    def _answer(self, response: httpx2.Response) -> Any:
        if response.status_code >= 400:
            raise Unexpected(f"{response.request.method} {response.request.url}: {response.text}")
        return response.json()


class Story:
    """`tell` runs in a thread of its own; `failed` are the expectations that did not hold."""

    def __init__(self, platform: Platform, world: World, *, decides_itself: bool) -> None:
        self.platform, self.world, self.decides_itself = platform, world, decides_itself
        self.failed: list[str] = []
        self.finished = False
        self.say = platform.say
        access = seed.access(settings.DATA_DIR / "demo")
        self.app, self.approver, self.operator = (
            Api(platform.url, access[name]) for name in ("shop-app", "amir", "olivia")
        )

    def tell(self) -> None:
        self._introduce()
        try:
            for scene in (
                self.lookup,
                self.ambiguous,
                self.hot_reload,
                self.refund,
                self.killed_worker,
                self.late_orders,
            ):
                if self.platform.stop_requested:
                    return
                self._play(scene)
            if self.platform.stop_requested:
                return
            self._audit()
            self.finished = True
        finally:
            connection.close()
        self._close()

    def _introduce(self) -> None:
        model = (
            "Claude" if settings.ANTHROPIC_API_KEY else "the bundled demo model server (no ANTHROPIC_API_KEY is set)"
        )
        self.say(f"\nA customer desk over 500 orders. Model replies come from {model}.")
        self.say(f"  open      {self.platform.url}/")
        for username, (role, *_) in seed.PEOPLE.items():
            self.say(f"  login     {username:<9} password {seed.PASSWORD}  ({role})")

    def _play(self, scene: Callable[[], None]) -> None:
        self.say(f"\n── {(scene.__doc__ or '').splitlines()[0]}")
        try:
            scene()
        except Exception as error:
            if self.platform.stop_requested:
                return  # the ground went away under the scene, as asked
            # A scene that broke is an expectation that did not hold; the others are told all the same.
            self.failed.append(f"{scene.__name__}: {error}")
            self.say(f"   ✗ {error}")
            self.say(traceback.format_exc())

    def _close(self) -> None:
        if self.failed:
            self.say(f"\n{len(self.failed)} expectations did not hold:")
            for sentence in self.failed:
                self.say(f"  ✗ {sentence}")
        else:
            self.say("\nEvery expectation held.")
        if not self.decides_itself:
            self.say(f"Still serving at {self.platform.url}/ until Ctrl-C. Ask the desk something of your own.")

    # -- scenes ----------------------------------------------------------------------------------------------------
    def lookup(self) -> None:
        """A plain lookup"""
        run = self.ask("Hi, where is my order 1042? It should have been here by now.")
        run = self.until_done(run)
        self.expect(run.status == "succeeded" and "1042" in run.output, "the answer speaks of order 1042")
        self.expect(self.agents_of(run) == ["triage", "orders"], "triage passed it to orders")
        routing = run.routing
        self.expect((routing.decided_by, routing.agent) == ("classifier", "orders"), f"and the run says so: {routing}")

    def ambiguous(self) -> None:
        """An ambiguous request: one question instead of a guess"""
        run = self.ask("There is something about order 1051, could you take care of it?")
        self.until(run, lambda: self.open_request(run, "question"))
        question = self.open_request(run, "question")
        assert question is not None
        self.say(f"   the desk asks: {question.title}")
        answer = "I only want to know where the parcel is."
        self.say(f'   customer: "{answer}"')
        self.app.post(f"runs/{run.pk}/answer/", {"answer": answer})
        run = self.until_done(run)
        asked = ApprovalRequest.objects.filter(run_id=run.pk, kind="question").count()
        self.expect(asked == 1, "one question was asked")
        routed = self.agents_of(run) == ["triage", "orders"] and "1051" in run.output
        self.expect(
            run.status == "succeeded" and routed, "its answer routed the run, and the answer speaks of order 1051"
        )

    def hot_reload(self) -> None:
        """A new agent, published while everything runs, dispatched to at once, then retired"""
        began = self.publish_warranty()
        self.wait(self._every_worker_serves, "every worker serves the new roster")
        self.say(f"   every worker serves it after {time.monotonic() - began:.2f} s")
        wish = "I have a warranty claim: the teapot of order 1044 is broken and needs a repair under guarantee."
        run = self.until_done(self.ask(wish))
        self.expect("warranty" in self.agents_of(run), "the new agent got the request")
        self.operator.post("agents/warranty/retire/")
        run = self.until_settled(self.ask(wish))
        self.expect("warranty" not in self.agents_of(run), "retired, it is gone")
        if not run.is_final:
            self.app.post(f"runs/{run.pk}/cancel/")

    def refund(self) -> None:
        """A refund: handed over with a person's yes, approved by a person, and the money moves exactly once"""
        order = self.refundable_order()
        before = self.moved_on(order)
        run = self.ask(f"The goods of order {order} arrived broken. I want my money back, please.")
        self.decide_when_asked(run, "handoff")
        self.expect(self.moved_on(order) == before, "nothing moved before the approval")
        self.decide_when_asked(run, "tool_call")
        run = self.until_done(run)
        self.expect(run.status == "succeeded", "the run succeeded")
        self.expect(self.moved_on(order) == before + 1, "the money moved exactly once")

    def killed_worker(self) -> None:
        """kill -9 of the worker in the middle of a refund: the run finishes, and the ledger stands at one"""
        order = self.refundable_order()
        before = self.moved_on(order)
        run = self.ask(f"Please refund 5.00 euros on order {order}.")
        self.until(run, lambda: self.open_request(run, "tool_call"))
        self.world.slow_payments(3)
        try:
            self.decide_when_asked(run, "tool_call")
            self.until(run, lambda: self.moved_on(order) == before + 1)
            owner = Run.objects.get(pk=run.pk).dispatches.exclude(lease_owner="").get().lease_owner
            name = next(name for name, child in self.platform.children.items() if f":{child.pid}:" in owner)
            self.say(f"   the payment is under way: kill -9 {name} (pid {self.platform.kill(name)})")
            run = self.until_done(run)
        finally:
            self.world.slow_payments(0)
        requests = [each["requests_received"] for each in self.refunds_on(order)]
        self.expect(run.status == "succeeded", "the run succeeded on another worker")
        self.expect(
            self.moved_on(order) == before + 1, f"the money moved once, though it was asked {requests[-1]} times"
        )

    def late_orders(self) -> None:
        """Five late orders: a supervisor has them planned, looked up side by side, voted on, and a letter written"""
        orders = ", ".join(str(number) for number in LATE)
        wish = f"Compare these five late orders and propose what to do: {orders}."
        run = self.ask(wish, agent="lead")
        self.decide_when_asked(run, "plan", look=self._show_plan)
        self.decide_when_asked(run, "tool_call")
        run = self.until_done(run)
        self.expect(run.status == "succeeded", "the run succeeded")
        lookups = list(run.dispatches.filter(node__key__startswith="lookup-").order_by("started_at"))
        side_by_side = [first.finished_at > later.started_at for first, later in pairwise(lookups)]  # type: ignore[operator]
        self.expect(len(lookups) == len(LATE) and any(side_by_side), "the orders were looked up side by side")
        vote = run.nodes.get(key="proposal")
        self.say(f"   the advisers: {vote.message}")
        self.expect(vote.output == "a voucher of 10 euros", "two of three advisers carried the vote")
        self.expect(all(str(number) in run.output for number in LATE), "the answer speaks of all five")
        self.expect(run.nodes.get(key="letter").status == "succeeded", "a customer was written to")

    def _show_plan(self, request: ApprovalRequest) -> None:
        for node in request.content["content"]["nodes"]:
            who = node.get("agent") or ", ".join(node.get("agents", []))
            after = f", after {', '.join(node['depends_on'])}" if node.get("depends_on") else ""
            self.say(f"        {node['key']:<10} {who}{after}")

    def _audit(self) -> None:
        self.say("\n── The record")
        checkpoints.make()
        signed = verify.checkpoints()
        faults = signed.faults + [fault for _, fault in verify.all_chains(signed.listed) if fault]
        self.expect(not faults, f"every event chain is whole, and {signed.newest} signs it")

    # -- what scenes do --------------------------------------------------------------------------------------------
    def ask(self, words: str, agent: str | None = None) -> Run:
        self.say(f'   customer: "{words}"')
        created = self.app.post("runs/", {"input": words} | ({"agent": agent} if agent else {}))
        self.say(f"   {self.platform.url}/runs/{created['id']}/")
        run = Run.objects.get(pk=UUID(created["id"]))
        run.trace = Trace(run.pk, self.say)  # type: ignore[attr-defined]
        return run

    def until(self, run: Run, question: Callable[[], Any]) -> Any:
        """Tell the run's events until the answer is true."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not (answer := question()):
            run.trace.follow()  # type: ignore[attr-defined]
            run.refresh_from_db()
            if run.is_final:
                if answer := question():
                    break
                raise Unexpected(f"the run ended early: {run.status}, {run.stop_reason}. {run.output}")
            if self.decides_itself and time.monotonic() > ends_at:
                raise Unexpected(f"nothing happened in {PATIENCE_SECONDS} s; the run is {run.status}: {run.waiting_on}")
            time.sleep(0.1)
        run.trace.follow()  # type: ignore[attr-defined]
        return answer

    def until_done(self, run: Run) -> Run:
        self.until(run, lambda: Run.objects.get(pk=run.pk).is_final)
        run.refresh_from_db()
        self.say(f'   desk: "{run.output}"')
        return run

    def until_settled(self, run: Run) -> Run:
        """Until it ended or waits for a person."""
        self.until(run, lambda: Run.objects.get(pk=run.pk).status not in ("accepted", "working"))
        run.refresh_from_db()
        return run

    def wait(self, question: Callable[[], Any], sentence: str) -> None:
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not question():
            if time.monotonic() > ends_at:
                raise Unexpected(f"waited {PATIENCE_SECONDS} s for: {sentence}")
            time.sleep(0.02)

    def open_request(self, run: Run, kind: str) -> ApprovalRequest | None:
        return ApprovalRequest.objects.open().filter(run_id=run.pk, kind=kind).first()

    def decide_when_asked(
        self, run: Run, kind: str, *, look: Callable[[ApprovalRequest], None] = lambda request: None
    ) -> None:
        """Approve as the seeded approver, or wait for the person at the screen."""
        request = self.until(run, lambda: self.open_request(run, kind))
        look(request)
        if self.decides_itself:
            self.approver.post(f"approvals/{request.pk}/decide/", {"verdict": "approved", "digest": request.digest})
            return
        self.say(f"   ► your decision: {self.platform.url}/approvals/{request.pk}/  (login amir, {seed.PASSWORD})")
        self.until(run, lambda: not ApprovalRequest.objects.open().filter(pk=request.pk).exists())

    def expect(self, held: bool, sentence: str) -> None:
        self.say(f"   {'✓' if held else '✗'} {sentence}")
        if not held:
            self.failed.append(sentence)

    def publish_warranty(self) -> float:
        """When it was published. An earlier demo on the same data left the agent behind, retired: then a new version."""
        manifest = WARRANTY | {"models": list(seed.model_chain())}
        known = Agent.objects.filter(slug="warranty").exists()
        if known:
            self.operator.post("agents/warranty/versions/", manifest)
        else:
            self.operator.post("agents/", manifest | {"slug": "warranty"})
        began = time.monotonic()
        self.operator.post("agents/warranty/publish/")
        if known:
            self.operator.post("agents/warranty/reinstate/")
        return began

    # -- what scenes look at ---------------------------------------------------------------------------------------
    def agents_of(self, run: Run) -> list[str]:
        return list(run.dispatches.order_by("number").values_list("manifest__agent__slug", flat=True))

    def _every_worker_serves(self) -> bool:
        epoch = RosterEpoch.objects.get().epoch
        served = list(WorkerRoster.objects.seen_within(10).values_list("epoch", flat=True))
        return bool(served) and all(each >= epoch for each in served)

    def refundable_order(self) -> int:
        """An order that has arrived and on which no money was paid back yet."""
        paid_back = {each["refund"]["order_number"] for each in self.world.refunds().values() if each["refund"]}
        arrived = Order.objects.filter(status="delivered").exclude(number__in=paid_back).order_by("number")
        return next(order.number for order in arrived if order.number % 25)

    def refunds_on(self, order: int) -> list[dict[str, Any]]:
        every = self.world.refunds().values()
        return [each for each in every if each["refund"] and each["refund"]["order_number"] == order]

    def moved_on(self, order: int) -> int:
        return sum(each["times_money_moved"] for each in self.refunds_on(order))
