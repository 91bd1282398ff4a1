"""A handoff as it is proposed and asked about: its contract, its preconditions, and exactly what is passed on."""
