"""Sockets that reach this machine and no other: what the tests and the notebooks run under.

Jupyter talks to its kernels over the loopback address, so that stays open. Everything else raises `NetworkBlocked`
at the call that would have left the machine, which names the address and so the culprit.
"""

import ipaddress
import socket
from typing import Any


class NetworkBlocked(OSError):
    """A connection to another machine was tried while the network is blocked.

    It is an `OSError`, as a failed connection is: code that handles "offline" meets the case that it was written for.
    """


def _is_this_machine(host: Any) -> bool:
    """Whether a host as a socket call takes it (text, bytes or None) means this machine."""
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii", "replace")
    if host in (None, "", "localhost") or str(host).endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(host).split("%")[0])
    except ValueError:
        return str(host).lower() == socket.gethostname().lower()
    return address.is_loopback or address.is_unspecified


def _refuse_unless_here(sock: socket.socket, address: Any) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_this_machine(address[0]):
        raise NetworkBlocked(f"the network is blocked in tests and notebook runs; something tried to reach {address!r}")


def block_network() -> None:
    """Replace the calls that leave this machine, once for this process."""
    if getattr(socket, "_course_loopback_only", False):
        return
    connect, connect_ex, sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
    getaddrinfo = socket.getaddrinfo

    def connect_here(self: socket.socket, address: Any) -> None:
        _refuse_unless_here(self, address)
        return connect(self, address)

    def connect_ex_here(self: socket.socket, address: Any) -> int:
        _refuse_unless_here(self, address)
        return connect_ex(self, address)

    def sendto_here(self: socket.socket, data: bytes, *rest: Any) -> int:
        _refuse_unless_here(self, rest[-1])
        return sendto(self, data, *rest)

    def getaddrinfo_here(host: Any, *rest: Any, **named: Any) -> list:
        if not _is_this_machine(host):
            raise NetworkBlocked(f"the network is blocked in tests and notebook runs; something asked for {host!r}")
        return getaddrinfo(host, *rest, **named)

    socket.socket.connect = connect_here
    socket.socket.connect_ex = connect_ex_here
    socket.socket.sendto = sendto_here
    socket.getaddrinfo = getaddrinfo_here
    socket._course_loopback_only = True
