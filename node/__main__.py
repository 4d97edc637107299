"""`python -P -m node CONFIG.json --boot N [--clock-rate R] [--clock-offset-ns O]`: one member, until SIGTERM.

Exit: 0 after SIGTERM, 64 for a configuration or data folder that cannot be used, 65 for damaged
data, 70 for a broken invariant, 74 for a disk that fails or an address that cannot be had.
"""

from __future__ import annotations

import argparse
import sys

EXIT_USAGE = 64
EXIT_DATA = 65
EXIT_DISK = 74


def main() -> int:
    """Start one member; every refusal is one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m node", exit_on_error=False)
    parser.add_argument("config")
    parser.add_argument("--boot", type=int, required=True)
    parser.add_argument("--clock-rate", type=float, default=1.0)
    parser.add_argument("--clock-offset-ns", type=int, default=0)
    try:
        arguments = parser.parse_args()
    except argparse.ArgumentError as error:
        return complain(f"{error}", EXIT_USAGE)
    except SystemExit as error:
        return EXIT_USAGE if error.code else 0
    from node.config import ConfigError, load
    from node.server import Server
    from node.storage.codec import Corrupt, StorageError

    try:
        config = load(arguments.config)
        server = Server(config, arguments.boot, arguments.clock_rate, arguments.clock_offset_ns)
    except (ConfigError, ValueError) as error:
        return complain(f"{error}", EXIT_USAGE)
    try:
        server.open()
    except Corrupt as error:
        return complain(f"{config.name}: {config.data_dir}: {error}", EXIT_DATA)
    except (StorageError, FileExistsError) as error:
        return complain(f"{config.name}: {config.data_dir}: {error}", EXIT_USAGE)
    except OSError as error:
        return complain(f"{config.name}: cannot start: {error}", EXIT_DISK)
    return server.run()


def complain(text: str, code: int) -> int:
    print(f"node: {text}", file=sys.stderr, flush=True)
    return code


sys.exit(main())
