"""Nodes: the places of a run's DAG, the edges between them, the plans that added them, and a router's decisions."""

from uuid import UUID

from django.db import connection, models
from django.db.models.functions import Now

from orchestrator_site.core.ids import new_id
from runs import states
from runs.models.artifacts import Artifact
from runs.models.dispatches import Dispatch
from runs.models.runs import Run

# What an inner node is for that is no part of the answer.
SUMMARISER = "summariser"
ROLES = ("judge", "planner", "reducer", "watch", SUMMARISER)


class Plan(models.Model):
    """What was planned within a node: the nodes it came to, how many may be at work at once, what judges their result.

    `proposed` is the plan as it was made, `content` as it was accepted, after a person's edit; both are a `PlanSpec`.
    `round` counts the plans of one node: a judge that is not content has the planner add another one.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="plans")
    node = models.ForeignKey("runs.Node", on_delete=models.PROTECT, related_name="plans")
    round = models.PositiveSmallIntegerField(default=1)
    source = models.CharField(max_length=10, choices=[(s, s) for s in ("request", "template", "planner", "router")])
    made_by = models.CharField(max_length=200)
    proposed = models.JSONField()
    content = models.JSONField()
    status = models.CharField(max_length=10, choices=states.PLAN.choices(), default=states.PROPOSED)
    request = models.ForeignKey("approvals.ApprovalRequest", null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            states.PLAN.constraint(),
            models.UniqueConstraint(fields=["node", "round"], name="plan_round_once"),
        ]
        ordering = ["node", "round"]

    def __str__(self) -> str:
        return f"plan {self.round} {self.status}"


class NodeQuerySet(models.QuerySet):
    def ready(self) -> "NodeQuerySet":
        """The status stands in the statement, so that its index is of use however many nodes there are."""
        return self.extra(where=["runs_node.status = 'ready'"])  # type: ignore[return-value]

    def due(self) -> "NodeQuerySet":
        """Their next try may begin: their run is under way, and there is a free place where they lie."""
        under_way = self.ready().filter(due_at__lte=Now(), run__paused_at__isnull=True, run__finished_at__isnull=True)
        is_full = models.Q(within__inner_limit__gt=0, within__inner_at_work__gte=models.F("within__inner_limit"))
        return under_way.exclude(is_full)

    def at_and_within(self, *node_ids: UUID) -> dict[UUID, UUID]:
        """The ids of nodes and of all that lies within them, however deep, superseded ones too; with each, which of
        the given ones it is or lies within. None of these may lie within another."""
        with connection.cursor() as cursor:
            cursor.execute(_AT_AND_WITHIN, [list(node_ids)])
            return dict(cursor.fetchall())

    def after(self, *node_ids: UUID) -> list[UUID]:
        """The ids of those that come after these within the same one, however far, but for superseded ones."""
        with connection.cursor() as cursor:
            cursor.execute(_AFTER, [list(node_ids)] * 2)
            return [id for (id,) in cursor.fetchall()]

    def replaced_by(self, node_id: UUID) -> list[UUID]:
        """The ids of the superseded nodes whose place this one takes, and each of the nodes around it."""
        with connection.cursor() as cursor:
            cursor.execute(_REPLACED, [node_id])
            return [id for (id,) in cursor.fetchall()]


_AT_AND_WITHIN = """
WITH RECURSIVE found AS (
    SELECT given AS id, given FROM unnest(%s::uuid[]) AS given
  UNION ALL
    SELECT n.id, found.given FROM runs_node n JOIN found ON n.within_id = found.id
) SELECT id, given FROM found
"""
_AFTER = """
WITH RECURSIVE found AS (
    SELECT given AS id FROM unnest(%s::uuid[]) AS given
  UNION
    SELECT n.id FROM found JOIN runs_edge e ON e.parent_id = found.id JOIN runs_node n ON n.id = e.child_id
    WHERE NOT n.superseded
) SELECT id FROM found WHERE id <> ALL(%s::uuid[])
"""
_REPLACED = """
WITH RECURSIVE around AS (
    SELECT n.id, n.run_id, n.within_id, n.key FROM runs_node n WHERE n.id = %s
  UNION ALL
    SELECT n.id, n.run_id, n.within_id, n.key FROM around JOIN runs_node n ON n.id = around.within_id
)
SELECT other.id FROM around JOIN runs_node other
  ON other.superseded AND other.run_id = around.run_id AND other.key = around.key AND other.id <> around.id
 AND other.within_id IS NOT DISTINCT FROM around.within_id
"""


class Node(models.Model):
    """A place in a run's DAG: what is to be done there, after which others. Agents try it by dispatches.

    The first node of a run has no `within`; what a router, a plan, a supervisor or a fan-out adds lies within the node
    that added it, and edges join nodes that lie within the same one. The result of a node that has others within it is
    made of theirs, and the result of the first node is the run's.

    `kind`: an agent works on it, or the nodes within it are made, or joined, by the platform. `spec` is a plan's
    `NodeSpec`, {} where nothing was planned. `role` says what an inner node is for, where it is not part of the answer.
    `watch`: the rule over the blackboard that had it dispatched.
    `reads` are the ids of the nodes whose results it is told; its parents' where it is empty.
    `dispatch` is the newest try, `answered_by` the one whose output is the result; without it, `output` is;
    `artifact` keeps the result for others to read, once one does.
    `parents_open` are parents that have not ended, `inner_open` and `inner_at_work` count the nodes within it, of which
    `inner_limit` may be at work at once; 0: any number. `tried` are the slugs of the agents that tried, in order,
    without last words and second looks.
    `left_out`: it came to nothing, and its agent's rule or a person said to go on as if it had succeeded.
    `superseded`: a person's comment, or another try of what came before, has put another node in its place.
    The caller of every write holds the run's row.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="nodes", db_index=False)
    number = models.PositiveIntegerField()
    key = models.CharField(max_length=60)
    within = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="inner", db_index=False)
    plan = models.ForeignKey(Plan, null=True, on_delete=models.PROTECT, related_name="nodes", db_index=False)
    parents = models.ManyToManyField(
        "self", through="Edge", through_fields=("child", "parent"), symmetrical=False, related_name="children"
    )
    kind = models.CharField(max_length=10, choices=[(k, k) for k in ("agent", "plan", "map", "ensemble", "reduce")])
    role = models.CharField(max_length=10, blank=True, choices=[(r, r) for r in ROLES])
    agent = models.ForeignKey("agents.Agent", null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    watch = models.ForeignKey("runs.WatchRule", null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    task = models.TextField()
    briefing = models.TextField(blank=True)
    spec = models.JSONField(default=dict)
    reads = models.JSONField(default=list)
    depth = models.PositiveSmallIntegerField(default=0)
    status = models.CharField(max_length=10, choices=states.NODE.choices(), default=states.BLOCKED)
    stop_reason = models.CharField(max_length=20, blank=True)
    message = models.CharField(max_length=500, blank=True)
    output = models.TextField(blank=True)
    waiting_on = models.CharField(max_length=300, blank=True)
    dispatch = models.ForeignKey(Dispatch, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    answered_by = models.ForeignKey(Dispatch, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    artifact = models.ForeignKey(Artifact, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    tried = models.JSONField(default=list)
    parents_open = models.PositiveIntegerField(default=0)
    inner_open = models.PositiveIntegerField(default=0)
    inner_at_work = models.PositiveIntegerField(default=0)
    inner_limit = models.PositiveIntegerField(default=0)
    left_out = models.BooleanField(default=False)
    superseded = models.BooleanField(default=False)
    due_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    objects = NodeQuerySet.as_manager()

    class Meta:
        constraints = [
            states.NODE.constraint(),
            models.UniqueConstraint(fields=["run", "number"], name="node_number_once"),
        ]
        indexes = [
            models.Index(fields=["within", "number"], name="node_within", condition=models.Q(within__isnull=False)),
            models.Index(fields=["within", "number"], name="node_ready", condition=models.Q(status=states.READY)),
            models.Index(
                fields=["run", "number"],
                name="node_not_started",
                condition=models.Q(status__in=[states.BLOCKED, states.READY, states.WAITING]),
            ),
            models.Index(fields=["run", "key"], name="node_superseded", condition=models.Q(superseded=True)),
            models.Index(fields=["within"], name="node_planner", condition=models.Q(role="planner")),
            models.Index(
                fields=["due_at"],
                name="node_due",
                condition=models.Q(status=states.READY, due_at__isnull=False),
            ),
        ]
        ordering = ["run", "number"]

    def __str__(self) -> str:
        return f"{self.key} {self.status}"

    @property
    def is_final(self) -> bool:
        return self.status in states.NODE.final


class Edge(models.Model):
    """`child` starts when `parent` has ended, and is told its result."""

    parent = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="edges_out")
    child = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="edges_in")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["parent", "child"], name="edge_once")]

    def __str__(self) -> str:
        return f"{self.parent_id} -> {self.child_id}"


class Route(models.Model):
    """A decision of a router or a supervisor, or of the person who routed in its place: this agent gets this task.

    A router's routes become nodes when its dispatch has ended, a supervisor's at once. `alongside`: it needs nothing of
    what the routes before it come to. `node` is the one in force; `told`: a supervisor has been told what it came to.
    `confidence` is the router's, of 1; `query` what it said is to be looked up.
    """

    source = models.ForeignKey(Dispatch, on_delete=models.PROTECT, related_name="routes")
    number = models.PositiveSmallIntegerField()
    agent = models.ForeignKey("agents.Agent", on_delete=models.PROTECT, related_name="+")
    task = models.TextField()
    alongside = models.BooleanField(default=False)
    confidence = models.FloatField(null=True)
    query = models.CharField(max_length=300, blank=True, default="", db_default="")
    told = models.BooleanField(default=False)
    decided_by = models.CharField(max_length=200)
    node = models.OneToOneField(Node, null=True, on_delete=models.PROTECT, related_name="route")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "number"], name="route_once")]
        ordering = ["source", "number"]

    def __str__(self) -> str:
        return f"{self.number}: {self.agent}"

    @property
    def key(self) -> str:
        """What its node is called."""
        return f"{self.agent.slug}-{self.number}"
