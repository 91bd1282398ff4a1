"""The ground's rows: the event chains, what observers still have to see, kept answers, access tokens."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from orchestrator_site.core.ids import new_id


class AppendOnly(Exception):
    """Rows of this table are written once. The database refuses the same by trigger."""


class ChainHead(models.Model):
    """The newest link of a chain. Its row is the last lock of every transaction that records an event.

    `moved`: it has grown since the last checkpoint that lists it. `checkpoint` is the number of that checkpoint, a
    hint for who looks for a proof; neither is evidence.
    """

    chain = models.CharField(primary_key=True, max_length=80, db_collation="C")
    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, blank=True)
    moved = models.BooleanField(default=True, db_default=True)
    checkpoint = models.BigIntegerField(null=True)

    class Meta:
        indexes = [models.Index(fields=["chain"], name="chain_moved", condition=models.Q(moved=True))]

    def __str__(self) -> str:
        return f"{self.chain}@{self.seq}"


class Event(models.Model):
    """One row of an append-only, hash-chained log. `chain` is `run:<id>` or `platform`; `seq` has no gaps in a chain.

    `data` is canonical JSON text: the bytes that were hashed are the bytes that are kept.
    The table lies in partitions by `chain`, a month of runs in each (`partitions.py`); its key in the database is
    (chain, seq), and `id` a number in the order of writing that nothing depends on.
    """

    chain = models.CharField(max_length=80, db_collation="C")
    seq = models.BigIntegerField()
    run_id = models.UUIDField(null=True)
    type = models.CharField(max_length=60)
    actor = models.CharField(max_length=200)
    at = models.DateTimeField()
    data = models.TextField()
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chain", "seq"], name="event_seq_once")]
        indexes = [models.Index(fields=["type", "-at"], name="event_by_type")]

    def __str__(self) -> str:
        return f"{self.chain}#{self.seq} {self.type}"

    def save(self, *args, **kwargs):
        raise AppendOnly("Events are appended by orchestrator_site.core.events alone.")

    def delete(self, *args, **kwargs):
        raise AppendOnly("Events are never deleted.")


class Checkpoint(models.Model):
    """A signed statement of where every chain stood that had moved since the one before. Append-only.

    `body` is the canonical JSON that `signature` (base64, Ed25519) signs and `hash` digests; `entries` is the canonical
    JSON list of [chain, seq, hash], sorted by chain, whose Merkle root stands in the body. `log` tells one
    installation's checkpoints from another's. Numbers have no gap but the one a declared restore leaves.
    """

    number = models.BigIntegerField(primary_key=True)
    log = models.UUIDField()
    at = models.DateTimeField()
    body = models.TextField()
    entries = models.TextField()
    hash = models.CharField(max_length=64, unique=True)
    signature = models.CharField(max_length=100)

    class Meta:
        ordering = ["number"]

    def __str__(self) -> str:
        return f"checkpoint {self.number}"

    def save(self, *args, **kwargs):
        raise AppendOnly("Checkpoints are made by orchestrator_site.core.checkpoints alone.")

    def delete(self, *args, **kwargs):
        raise AppendOnly("Checkpoints are never deleted.")


class Restoration(models.Model):
    """This database is older than what was done: its second place knows a later checkpoint, or a person said so.

    Work stands still until `marked_at`. `database_number` is the newest checkpoint found here, `outside_number` and
    `outside_hash` the newest of the second place. `declared_by` is the number of the checkpoint that tells of it.
    """

    log = models.UUIDField(null=True)
    database_number = models.BigIntegerField()
    outside_number = models.BigIntegerField()
    outside_hash = models.CharField(max_length=64, blank=True)
    found_by = models.CharField(max_length=200)
    found_at = models.DateTimeField(db_default=Now())
    marked_at = models.DateTimeField(null=True)
    declared_by = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                models.Value(1), name="restoration_one_open", condition=models.Q(marked_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"from checkpoint {self.outside_number} back to {self.database_number}"


class Observation(models.Model):
    """An event that an observer still has to be told of; the row goes when it was told, or stays with its failures."""

    event = models.ForeignKey(
        Event, on_delete=models.CASCADE, related_name="observations", db_constraint=False, db_index=False
    )
    observer = models.CharField(max_length=100)
    failures = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    due_at = models.DateTimeField(db_index=True)
    given_up = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event", "observer"], name="observation_once")]

    def __str__(self) -> str:
        return f"{self.observer} of event {self.event_id}"


class IdempotencyKey(models.Model):
    """A POST that was answered under an `Idempotency-Key`: the same body gets the same answer for a day."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_index=False)
    route = models.CharField(max_length=120)
    key = models.CharField(max_length=200)
    body_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    response = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "route", "key"], name="idempotency_key_once")]

    def __str__(self) -> str:
        return f"{self.route} {self.key}"


class Token(models.Model):
    """A personal or application token. Only the SHA-256 of its secret is kept; `prefix` is shown to recognise it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="baton_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)
    secret_digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
