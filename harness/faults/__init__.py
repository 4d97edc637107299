"""Faults: one file per kind. Each installs, proves by evidence that it took effect, and heals."""
