"""Links: every directed hop between two processes, its desired state, and who carries it."""
