"""What a server is told when it starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

MAX_UPLOAD_MB = 50
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """How a library is served. `token` is what a client has to show, or None: then only this machine may ask."""

    library: Path
    host: str = "127.0.0.1"
    port: int = 8080  # 0: any that is free
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()  # names of this server beside `host` and those of loopback
    writable: bool = False
    max_upload: int = MAX_UPLOAD_MB << 20  # bytes
    workers: int | None = None  # processes that decode
    folders: tuple[tuple[str, Path], ...] = ()  # from which clients may add, by the names that they use
    watch: bool = False  # whether what is new there is added without being asked for
    trash: Path | None = None  # where copies are moved
    urls: bool = False  # whether pictures are fetched from addresses that clients name
    rate: float | None = None  # requests a second that one address may make
    log_json: bool = False
    quiet: bool = False  # no line for each request

    def features(self) -> dict[str, object]:
        """What clients may do here, as JSON."""
        names = [name for name, _ in self.folders]
        return {"folders": names, "trash": self.trash is not None, "urls": self.urls}

    def host_names(self) -> frozenset[str]:
        """The names under which this server may be asked, without port, in lower case."""
        own = () if self.host in ("0.0.0.0", "::") else (self.host,)
        return frozenset(name.lower().strip("[]") for name in (*LOOPBACK_NAMES, *own, *self.allowed_hosts))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server at this address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
