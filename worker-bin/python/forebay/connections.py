"""Connections that an import has opened: after a fork all workers would talk on the same one, and
get each other's answers.
"""

import os
from socket import AF_INET, AF_INET6, AF_UNIX, SO_PEERCRED, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET, socket
from socket import getdefaulttimeout, setdefaulttimeout
from struct import unpack


def sockets():
    """All of this process: what they are, and a descriptor of each."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            # The one that the list was read from.
            continue
        if target.startswith("socket:"):
            found[target] = int(name)
    return found


def connections(before):
    """To whom connections lead that were not there before, in words."""
    new = [descriptor for what, descriptor in sockets().items() if what not in before]
    timeout = getdefaulttimeout()
    # With one, to look at a socket would change it.
    setdefaulttimeout(None)
    try:
        return [peer for peer in map(peer_of, new) if peer]
    finally:
        setdefaulttimeout(timeout)


def peer_of(descriptor):
    """None: nobody answers there, or it is this process itself, as with a pair that wakes a loop."""
    end = socket(fileno=descriptor)
    try:
        # Each datagram is one message, whoever sends it, and mostly of a log.
        if end.type in (SOCK_DGRAM, SOCK_RAW):
            return None
        peer = end.getpeername()
        if end.family == AF_UNIX:
            return unix_peer(end, peer)
        if end.family in (AF_INET, AF_INET6):
            host, port = peer[:2]
            return f"[{host}]:{port} (TCP)" if ":" in host else f"{host}:{port} (TCP)"
        return f"{peer} (family {int(end.family)})"
    except OSError:
        return None
    finally:
        end.detach()


def unix_peer(end, peer):
    if peer:
        return f"{os.fsdecode(peer)!r} (Unix)"
    pid, _, _ = unpack("3i", end.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
    return f"process {pid} (Unix)" if pid != os.getpid() else None
