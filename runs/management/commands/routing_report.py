import json
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from agents import roster
from agents.routing import cascade, fits, report, table
from agents.routing.embedders import EmbedderFailed
from agents.routing.report import Changed, Labelled, NotReadable
from agents.routing.values import Judgement, RoutingRequest
from runs import routing
from runs.models import Run

SHOWN = 50


class Command(BaseCommand):
    help = (
        "What the live route table makes of labelled requests, by stage; and what a draft table would change, for them "
        "or for requests that were recorded. Writes nothing but the file of --export. See docs/routing.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("csv", nargs="?", type=Path, help="text,agent; an agent that is empty or “oos”: nobody's")
        parser.add_argument(
            "--recorded", type=int, metavar="N", help="the newest N runs that named no agent, in place of a file"
        )
        parser.add_argument("--draft", type=Path, metavar="JSON", help="another table, to replay the requests against")
        parser.add_argument(
            "--export", type=Path, metavar="JSON", help="write the live table there, to edit as a draft"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._report(**{name: options[name] for name in ("csv", "recorded", "draft", "export")})
        except (NotReadable, EmbedderFailed, OSError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _report(self, csv: Path | None, recorded: int | None, draft: Path | None, export: Path | None) -> None:
        served = roster.today()
        if export is not None:
            export.write_text(json.dumps(report.as_json(report.export(served)), indent=2, ensure_ascii=False) + "\n")
            self.stdout.write(f"The live table is in {export}.")
        if (csv is None) == (recorded is None):
            if export is not None and csv is None:
                return
            raise CommandError("Name a CSV of labelled requests, or --recorded N; --export alone writes the table.")
        if csv is not None:
            labelled = report.read_labelled(csv)
            requests: list[tuple[RoutingRequest, str | None]] = [(each.request, each.agent) for each in labelled]
            if unknown := {each.agent for each in labelled if each.agent} - set(served.entries):
                named = ", ".join(sorted(unknown)[:10])
                self.stderr.write(f"Not agents at work, so right only as plan templates of that name: {named}")
        else:
            assert recorded is not None
            runs = _recorded(recorded)
            requests = [(_as_asked(run), None) for run in runs]
        self._tell(served, requests, draft)
        if recorded is not None:
            self._since(served, [run for run in runs if hasattr(run, "routing")])

    def _tell(
        self, served: roster.Roster, requests: list[tuple[RoutingRequest, str | None]], draft: Path | None
    ) -> None:
        book = cascade.live(served)
        asked = [request for request, _ in requests]
        before = report.judge_all(book, asked)
        self.stdout.write(self.style.MIGRATE_HEADING(f"The live table: {_fit(served)}"))
        self._figures(requests, before)
        if draft is None:
            return
        after = report.judge_all(report.drafted(report.read_draft(draft, served), served), asked)
        self.stdout.write(self.style.MIGRATE_HEADING(f"The draft {draft}"))
        self._figures(requests, after)
        self._changes(report.changes(requests, before, after), len(requests))

    def _figures(self, requests: list[tuple[RoutingRequest, str | None]], judged: list[Any]) -> None:
        labelled = [
            (Labelled(request, label), said)
            for (request, label), said in zip(requests, judged, strict=True)
            if label is not None
        ]
        if labelled:
            lines = report.tally(labelled).lines()
        else:
            went = Counter(report.where(said) for said in judged)
            lines = [
                f"{len(judged)} recorded requests",
                *(f"  {where}: {count}" for where, count in went.most_common()),
            ]
        self.stdout.write("\n".join(lines))

    def _since(self, served: roster.Roster, runs: list[Run]) -> None:
        """Who decided then, and what the live table makes of it now: where a person or a router did, whether it would
        come to the same without them."""
        self.stdout.write(self.style.MIGRATE_HEADING(f"As they were decided, {len(runs)} of them on record"))
        decided = Counter(run.routing.decided_by or "nobody" for run in runs)
        self.stdout.write("\n".join(f"  by {by}: {count}" for by, count in decided.most_common()))
        known = [run for run in runs if run.routing.target]
        judged = report.judge_all(cascade.live(served), [_as_asked(run) for run in known])
        ways = Counter(_way(run, said) for run, said in zip(known, judged, strict=True))
        told = [f"{way} {ways[way]}" for way in ("there at once", "asked about", "elsewhere")]
        self.stdout.write(f"  of those that went somewhere, today: {', '.join(told)}")

    def _changes(self, changed: list[Changed], count: int) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"{len(changed)} of {count} requests would go elsewhere"))
        for each in changed[:SHOWN]:
            self.stdout.write(f"  {each}")
        if len(changed) > SHOWN:
            self.stdout.write(f"  … and {len(changed) - SHOWN} more")


def _fit(served: roster.Roster) -> str:
    if (fitted := fits.serving(served)) is None:
        return "not fitted yet; a worker does so within seconds"
    if not fits.is_kept(table.live(served)):
        return f"fit {fitted.id} of an earlier table serves; a worker fits this one within seconds"
    return f"fit {fitted.id}"


def _recorded(newest: int) -> list[Run]:
    """Those that named neither an agent nor a plan."""
    if newest < 1:
        raise CommandError("--recorded: at least 1.")
    named_nobody = Q(routing__isnull=False) | Q(agent__isnull=True, plan__isnull=True)
    return list(Run.objects.filter(named_nobody).select_related("owner", "routing").order_by("-pk")[:newest])


def _as_asked(run: Run) -> RoutingRequest:
    """With the facts of who asked as they were then; of runs without a record, as the groups are now."""
    return routing.request_of(run, getattr(run, "routing", None), run.input)


def _way(run: Run, said: Judgement) -> str:
    if not said.is_decided:
        return "asked about"
    return "there at once" if run.routing.target in (said.agent, f"the plan {said.template}") else "elsewhere"
