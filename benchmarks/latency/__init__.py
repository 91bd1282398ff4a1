"""How long things take that somebody waits for: each a question with a target, asked of the real processes."""
