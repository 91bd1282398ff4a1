import json
from io import StringIO

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command

from agents import roster
from agents.routing import fits, teaching
from agents.values import AgentKind
from runs import intake
from tests.agents import cast
from tests.agents.routing import desk

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def company():
    roster.forget()
    cast.entry()
    for route in desk.table().routes:
        cast.at_work(route.slug, owns=route.description, exemplars=route.exemplars)
    cast.at_work("front-door", kind=AgentKind.ROUTER)
    fits.keep_up()
    yield
    roster.forget()


@pytest.fixture
def labelled(tmp_path):
    rows = [*((text, slug) for slug, text in desk.ASKED.items()), *((text, "oos") for text in desk.NOBODYS)]
    path = tmp_path / "requests.csv"
    path.write_text("text,agent\n" + "".join(f'"{text}",{agent}\n' for text, agent in rows))
    return path


def report(*args) -> str:
    told = StringIO()
    call_command("routing_report", *map(str, args), stdout=told, no_color=True)
    return told.getvalue()


def test_labelled_requests_are_told_by_stage(labelled):
    teaching.teach_rule("jobs", 'text.contains("position")', None, agent=cast.agent("jobs"))

    told = report(labelled)

    assert "4 requests of agents, 4 of nobody" in told
    assert "to the right agent    4 (100.0 %)" in told
    assert "nobody's, caught      4 (100.0 %)" in told
    assert "by rules:              1 right, 0 wrong, 0 of nobody's" in told
    assert "by semantic:           3 right, 0 wrong, 0 of nobody's" in told


def test_a_wrong_rule_shows(labelled):
    """The control of the test above."""
    teaching.teach_rule("everything", "true", None, agent=cast.agent("jobs"))

    told = report(labelled)

    assert "to a wrong one        3 (75.0 %); 3 (75.0 %) of what was answered" in told
    assert "by rules:              1 right, 3 wrong, 4 of nobody's" in told


def test_a_draft_says_what_it_changes(labelled, tmp_path):
    draft = tmp_path / "draft.json"
    report("--export", draft)
    table = json.loads(draft.read_text())
    table["rules"].append({"name": "songs", "condition": 'text.contains("song")', "template": "sing"})
    draft.write_text(json.dumps(table))

    told = report(labelled, "--draft", draft)

    assert "1 of 8 requests would go elsewhere" in told
    assert "'sing me a song about the sea': asked → the plan sing   (nobody’s)" in told


def test_an_exported_table_changes_nothing(labelled, tmp_path):
    teaching.teach_rule("jobs", 'text.contains("position")', None, agent=cast.agent("jobs"))
    report("--export", tmp_path / "live.json")

    assert "0 of 8 requests would go elsewhere" in report(labelled, "--draft", tmp_path / "live.json")


def test_recorded_requests_are_replayed(tmp_path):
    ann = User.objects.create_user("ann")
    for text in (desk.ASKED["orders"], desk.NOBODYS[0]):
        intake.start(ann, text, source="api", metadata={"channel": "mail"})
    intake.start(ann, "named, and so not routed", source="api", agent="jobs")
    draft = tmp_path / "draft.json"
    report("--export", draft)
    table = json.loads(draft.read_text())
    table["rules"].append(
        {"name": "ann", "condition": 'caller.username == "ann" && metadata.channel == "mail"', "agent": "jobs"}
    )
    draft.write_text(json.dumps(table))

    told = report("--recorded", 10, "--draft", draft)

    assert "2 recorded requests" in told
    assert "orders → jobs" in told
    assert "asked → jobs" in told


def test_recorded_requests_are_told_as_they_were_decided():
    """One by likeness, one that nobody has answered; and today a rule sends the first elsewhere."""
    ann = User.objects.create_user("ann")
    for text in (desk.ASKED["orders"], desk.NOBODYS[0]):
        intake.start(ann, text, source="api")
    intake.start(ann, "named, and so not routed", source="api", agent="jobs")

    before = report("--recorded", 10)
    teaching.teach_rule("all", "true", None, agent=cast.agent("jobs"))
    after = report("--recorded", 10)

    assert "As they were decided, 2 of them on record\n" in before
    assert "  by semantic: 1\n" in before
    assert "  by nobody: 1\n" in before
    assert "of those that went somewhere, today: there at once 1, asked about 0, elsewhere 0" in before
    assert "of those that went somewhere, today: there at once 0, asked about 0, elsewhere 1" in after


def test_who_asked_is_who_they_were_then():
    teaching.teach_rule("shops", '"Shop" in caller.roles', None, agent=cast.agent("jobs"))
    ann = User.objects.create_user("ann")
    ann.groups.add(Group.objects.create(name="Shop"))
    intake.start(ann, desk.NOBODYS[0], source="api")
    ann.groups.clear()

    assert "  jobs: 1" in report("--recorded", 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"rules": []}', "agents: Field required"),
        ('{"agents": {"orders": {"description": "x", "examples": []}}}', "agents.orders.examples: Extra inputs"),
        ('{"agents": {"nobody": {"description": "x"}}}', "agents.nobody: there is no such agent at work"),
        (
            '{"agents": {"orders": {"description": "x", "exemplars": [" "]}}}',
            "agents.orders.exemplars.0: a request has",
        ),
        ('{"agents": {}, "rules": [{"name": "x", "condition": "body", "agent": "orders"}]}', "no 'body'"),
        ('{"agents": {}, "rules": [{"name": "x", "condition": "true"}]}', "rules.0: name an agent or a plan template"),
        ("[", "Invalid JSON"),
    ],
)
def test_a_draft_that_cannot_be_read_names_the_field(content, sentence, labelled, tmp_path):
    draft = tmp_path / "draft.json"
    draft.write_text(content)

    with pytest.raises(CommandError, match=sentence.replace("(", r"\(")):
        report(labelled, "--draft", draft)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("question,agent\n", "must name the columns text,agent"), ("text,agent\n ,orders\n", "line 2: there is no text")],
)
def test_a_file_that_cannot_be_read_names_its_line(content, sentence, tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text(content)

    with pytest.raises(CommandError, match=sentence):
        report(path)


def test_nothing_to_report_on_is_said():
    with pytest.raises(CommandError, match="--recorded N"):
        report()
