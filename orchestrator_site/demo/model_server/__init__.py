"""The demo model server: the Messages API spoken by a deterministic program, so that the demo needs no key."""
