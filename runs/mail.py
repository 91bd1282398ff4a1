"""The mailbox of a dispatch: what others tell its agent, read at its next turn. The only writer of messages."""

from orchestrator_site.core import canonical
from orchestrator_site.core.events import SYSTEM, Record
from runs import states
from runs.errors import NotPossible
from runs.models import Dispatch, Message

LONGEST_CHARACTERS = 16_000
MOST_UNREAD = 50


def post(log: Record, to: Dispatch, text: str, *, sender: str, sender_dispatch: Dispatch | None = None) -> Message:
    """Leave a message to a dispatch that has not ended; it wakes nobody.

    `sender` is an actor: `agent:<slug>`, `user:<name>` or `system`, whose mail no full box keeps out. Raises
    NotPossible, with a sentence for the sender.
    Takes the row of `to`: whoever holds another dispatch's row holds their run's before both.
    """
    if not text.strip():
        raise NotPossible("A message needs a text.")
    if len(text) > LONGEST_CHARACTERS:
        raise NotPossible(f"A message has at most {LONGEST_CHARACTERS:,} characters; keep the rest as an artifact.")
    row = _taken(to)
    if sender != SYSTEM and row.messages.filter(step__isnull=True).count() >= MOST_UNREAD:
        raise NotPossible(f"Dispatch #{row.number} has {MOST_UNREAD} messages that it has not read yet.")
    message = Message.objects.create(
        dispatch=to,
        number=row.mail + 1,
        sender=sender,
        sender_dispatch=sender_dispatch,
        text=text,
        labels=sender_dispatch.labels if sender_dispatch else "",
    )
    Dispatch.objects.filter(pk=to.pk).update(mail=message.number)
    to.mail = message.number
    log.run(
        to.run_id,
        "message_posted",
        actor=sender,
        dispatch=str(to.pk),
        number=message.number,
        digest=canonical.digest(text),
    )
    return message


def _taken(to: Dispatch) -> Dispatch:
    """The receiver's row, locked."""
    locked = Dispatch.objects.select_for_update(no_key=True).only("status", "mail", "number").order_by()
    row = locked.get(pk=to.pk)
    if row.status in states.DISPATCH.final:
        raise NotPossible(f"Dispatch #{row.number} has ended; nobody would read it.")
    return row


def deliver(log: Record, dispatch: Dispatch, step: int) -> None:
    """What was not read yet is read by this step. The caller holds the dispatch, and has all of it in its request."""
    log.writes.add(_DELIVER, [step, dispatch.pk])
    log.run(dispatch.run_id, "messages_delivered", dispatch=str(dispatch.pk), step=step, up_to=dispatch.mail)


_DELIVER = "UPDATE runs_message SET step = %s WHERE dispatch_id = %s AND step IS NULL"
