"""The command `hashgrain`: one file a verb, the same words as the Python library."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command. Everything that goes wrong on purpose ends in one line and an exit code.

    0 all is well, 1 failed, 2 the command line was wrong, 3 done in part (some files were refused),
    130 stopped by Ctrl-C.
    """
    try:
        from hashgrain.cli.app import run

        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
