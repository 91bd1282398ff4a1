"""The policy beside the history of runs: replayed, tried, and learnt from what people decided."""
