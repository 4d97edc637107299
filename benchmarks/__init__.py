"""Benchmarks: `make bench`. Each module prints its figures with the CPU steal of its run; see docs/measured.md."""
