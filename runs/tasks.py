"""Celery's side of the work: a message carries an id and nothing else, and running it twice is harmless."""

from uuid import UUID

from celery import shared_task

from runs import carrier


@shared_task(name="runs.tasks.carry")
def carry(dispatch_id: str) -> None:
    carrier.carry(UUID(dispatch_id))
