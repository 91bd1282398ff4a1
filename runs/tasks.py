"""Celery's side of the work: a message calls a worker, who takes whatever is up next; running it twice is harmless."""

from uuid import UUID

from celery import shared_task
from django.db import connection

from runs import carrier
from runs.policies import simulating


@shared_task(name="runs.tasks.carry")
def carry(dispatch_id: str) -> None:
    carrier.carry(UUID(dispatch_id), fairly=True)


@shared_task(name=simulating.SIMULATE)
def simulate(simulation_id: str) -> None:
    try:
        simulating.carry(UUID(simulation_id))
    finally:
        connection.close()
