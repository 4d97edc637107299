"""Systems under test: how to start a member, ask it, and talk to it as a client. One file per system."""
