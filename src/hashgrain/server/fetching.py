"""Pictures from addresses that clients name: https only, from public addresses only, within a size and a time.

A name is resolved once. Each of its addresses has to be public, and the connection goes to the one that was checked, so
another answer of the name server later changes nothing. Redirects are not followed. Proxies of the environment are not
used.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from hashgrain.server.problems import ProblemError

PORT = 443
SECONDS = 20.0  # for all of it
IDLE_SECONDS = 8.0  # in which nothing comes
MAX_URL = 2_000  # characters
CHUNK = 64 << 10
PLAIN = re.compile(r"[!-~]+")
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
# Beside what `ipaddress` calls private, of which older versions of Python know less.
NOT_PUBLIC = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/3"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),  # tunnels hold an address of version 4
    )
)
GLOBAL_6 = ipaddress.ip_network("2000::/3")


def resolved(host: str) -> list[str]:
    """The addresses of a name, by the system."""
    found = socket.getaddrinfo(host, PORT, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def connected(address: str, seconds: float) -> socket.socket:
    return socket.create_connection((address, PORT), timeout=seconds)


@dataclass(frozen=True)
class Fetcher:
    """Fetches pictures of at most so many bytes. Tests give other ways to resolve and to connect."""

    most: int
    seconds: float = SECONDS
    resolve: Callable[[str], Sequence[str]] = resolved
    connect: Callable[[str, float], socket.socket] = connected
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def fetch(self, url: str) -> bytes:
        """The bytes at an address; 422 if it may not be asked, 502 if it gives none, 413 if they are too many."""
        parts = checked_url(url)
        host = str(parts.hostname).rstrip(".")
        try:
            address = public_address(self.resolve(host), host)
            with self._opened(address, host) as connection:
                return self._answer(connection, parts, host)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ProblemError(502, "url_failed", f"{host}: {str(reason)[:200]}") from None

    @contextmanager
    def _opened(self, address: str, host: str) -> Iterator[http.client.HTTPConnection]:
        """A connection to this address, which ends when its time is over."""
        plain = self.connect(address, min(self.seconds, IDLE_SECONDS))
        plain.settimeout(min(self.seconds, IDLE_SECONDS))
        with plain:
            secured = self.context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
            over = threading.Event()
            timer = threading.Timer(self.seconds, _cut, [secured, over])
            timer.daemon = True
            timer.start()
            try:
                with secured:
                    secured.do_handshake()
                    connection = http.client.HTTPConnection(host, PORT)
                    connection.sock = secured
                    yield connection
                    if over.is_set():  # what was read is no whole answer, although its end looks like one
                        raise TimeoutError("it took too long")
            finally:
                timer.cancel()

    def _answer(self, connection: http.client.HTTPConnection, parts: SplitResult, host: str) -> bytes:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
        for name, value in {
            "Host": f"[{host}]" if ":" in host else host,
            "User-Agent": "hashgrain",
            "Accept": "image/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        if answer.status != 200:
            reason = "leads elsewhere, which is not followed" if 300 <= answer.status < 400 else "has no picture"
            raise ProblemError(502, "url_failed", f"{host} answered {answer.status}: the address {reason}")
        promised = answer.length
        if promised is not None and promised > self.most:
            raise self._too_large()
        data = bytearray()
        while chunk := answer.read(CHUNK):
            data += chunk
            if len(data) > self.most:
                raise self._too_large()
        if promised is not None and len(data) < promised:
            raise ProblemError(502, "url_failed", f"{host}: the answer ended early")
        return bytes(data)

    def _too_large(self) -> ProblemError:
        return ProblemError(413, "too_large", f"the picture is larger than {self.most / (1 << 20):g} MB")


def checked_url(url: str) -> SplitResult:
    """The parts of an address that may be asked; 422 for any other."""
    if len(url) > MAX_URL or not PLAIN.fullmatch(url) or "\\" in url:
        raise _refused(f"an address has at most {MAX_URL} characters, all of them plain and none of them a space")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise _refused(f"this is no address ({error})") from None
    if parts.scheme != "https":
        raise _refused("only https addresses are fetched")
    if "@" in parts.netloc:
        raise _refused("an address with a user or a password is not fetched")
    if port not in (None, PORT):
        raise _refused("only the usual port of https, 443, is asked")
    if not _is_host(host, bracketed="[" in parts.netloc):
        raise _refused("the host of the address is neither a name nor an address in its usual form")
    return parts


def _is_host(host: str, *, bracketed: bool) -> bool:
    """Whether it is a name, or an address as it is usually written: 2130706433 and 0177.1 are addresses to some."""
    if bracketed or NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return bracketed == (address.version == 6) and "%" not in host
    return len(host) <= 253 and all(LABEL.fullmatch(label) for label in host.split("."))


def public_address(addresses: Sequence[str], host: str) -> str:
    """The first address of a host; 422 if any of them is not public."""
    if not addresses:
        raise ProblemError(502, "url_failed", f"{host}: there is no such host")
    if not all(map(is_public, addresses)):
        raise _refused("the address leads to a network that is not public")
    return addresses[0]


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet. One that holds another address is not."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and (address not in GLOBAL_6 or "%" in text):
        return False
    special = address.is_multicast or address.is_reserved or address.is_loopback or address.is_link_local
    listed = any(address.version == network.version and address in network for network in NOT_PUBLIC)
    return address.is_global and not special and not listed


def _refused(detail: str) -> ProblemError:
    return ProblemError(422, "url", detail)


def _cut(connection: socket.socket, over: threading.Event) -> None:
    over.set()
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
