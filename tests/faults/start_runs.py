"""`python -m tests.faults.start_runs OWNER INPUT…`: start runs in a process of its own, and print their ids."""

import sys

import django

if __name__ == "__main__":
    django.setup()
    from django.contrib.auth.models import User

    from runs import intake

    owner, *inputs = sys.argv[1:]
    for each in inputs:
        print(intake.start(User.objects.get(username=owner), each, source="api", agent="worker").pk)
