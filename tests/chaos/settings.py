"""The settings of the processes under test: the real ones, stacks on SIGUSR2, and what CHAOS_SABOTAGE breaks."""

import faulthandler
import os
import signal

from orchestrator_site.settings import *  # noqa: F403
from orchestrator_site.settings import INSTALLED_APPS

# Not SIGUSR1: Celery has a use of its own for it.
faulthandler.register(signal.SIGUSR2, all_threads=True)

if os.environ.get("CHAOS_SABOTAGE"):
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos.sabotage.SabotageConfig"]
