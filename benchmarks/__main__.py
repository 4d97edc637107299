"""All benchmarks one after another: python -m benchmarks [name ...]"""

from __future__ import annotations

import runpy
import sys

ALL = ("recorder", "startup", "throughput", "ending", "restart")


def main() -> None:
    names = sys.argv[1:] or list(ALL)
    for name in names:
        print(f"== {name}")
        sys.argv = [name]
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")


if __name__ == "__main__":
    main()
