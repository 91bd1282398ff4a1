"""What a plan is, and whether it may be accepted: typed data, before anything of it is a row."""
