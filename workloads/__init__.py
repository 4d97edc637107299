"""Workloads: what clients do, and the model that their history is judged by. Pure: every draw comes from a stream handed in."""
