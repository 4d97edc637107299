"""A Raft key-value member as a process; it knows nothing of tests. `node.api` is the only public module."""
