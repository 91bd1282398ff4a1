"""What holds up work that is allowed: a dispatch waits for it visibly, and holds no slot."""
