# SPDX-License-Identifier: Apache-2.0
"""`python -m memkd_edge` and `memkd-edge`: the command line, where its packages are installed."""

import gc
import sys

from memkd_edge.errors import MissingToolError
from memkd_edge.toolchain import naming_missing_packages


def main() -> None:
    """Run the command line; a package that it lacks ends it with one message and exit code 3, Ctrl-C with 130."""
    try:
        with naming_missing_packages():
            from memkd_edge.cli.main import main as run

            run()
    except MissingToolError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # before a command had begun, which says more itself
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        gc.freeze()  # the process ends: what torch leaves takes Python half a second or more to search for garbage


if __name__ == "__main__":
    main()
