"""Who should get a request: rules first, then what agents are like; what neither decides goes up as candidates.

Nothing here writes while it judges, and nothing here knows of runs. docs/routing.md says how it decides.
"""
