"""The nemesis: a platform at work under random faults, judged from outside. `make chaos`, docs/chaos.md."""
