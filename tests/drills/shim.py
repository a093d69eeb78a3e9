"""Building the shim, and the words for what it should do."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).parent / "shim.c"
WRITES, SYNCS, OPENS, NAMES, READS, LOCKS = 1, 2, 4, 8, 16, 32
CHANGES = WRITES | SYNCS | OPENS | NAMES
COUNT, FAIL, SHORT, KILL, LASTING, KILL_SHORT = range(6)

# Which errors a kind of call is made to fail with.
ERRORS = {
    WRITES: (errno.ENOSPC, errno.EIO, errno.EDQUOT),
    SYNCS: (errno.EIO, errno.ENOSPC),
    OPENS: (errno.EMFILE, errno.EACCES, errno.EIO),
    NAMES: (errno.EIO, errno.EACCES, errno.ENOSPC),
    READS: (errno.EIO, errno.ENOMEM),
    LOCKS: (errno.ENOLCK, errno.EIO),
}
KIND_NAMES = {WRITES: "write", SYNCS: "sync", OPENS: "open", NAMES: "name", READS: "read", LOCKS: "lock"}


@dataclass(frozen=True)
class Arm:
    """What is to happen to the child at its `at`-th call of the kinds in `mask`, on paths below the roots."""

    roots: tuple[Path, ...]
    mode: int = COUNT
    mask: int = CHANGES
    at: int = 0
    error: int = errno.EIO
    log: Path | None = None
    words: str = field(default="", compare=False)

    def as_request(self) -> dict[str, object]:
        return {
            "roots": [str(root.resolve()) for root in self.roots],
            "mode": self.mode,
            "mask": self.mask,
            "at": self.at,
            "error": self.error,
            "log": str(self.log) if self.log else None,
        }


def why_not() -> str | None:
    """Why there is no shim on this machine."""
    if sys.platform != "linux":
        return "system calls are interposed with LD_PRELOAD, on Linux only"
    if compiler() is None:
        return "no C compiler on this machine to build the shim with"
    return None


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path) -> Path:
    """The shim as a library in `folder`."""
    library = folder / "shim.so"
    cc = compiler()
    assert cc is not None
    subprocess.run([cc, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library
