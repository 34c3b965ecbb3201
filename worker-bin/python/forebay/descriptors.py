"""Descriptors that an import has opened and that processes cannot share after a fork: they would have
one place in a file, one lock, one stream of answers or wake-ups, and take them from each other.
"""

import os
import stat
import sys
from socket import AF_INET, AF_INET6, AF_UNIX, SO_PEERCRED, SOCK_DGRAM, SOCK_RAW, SOL_SOCKET, socket
from socket import getdefaulttimeout, setdefaulttimeout
from struct import unpack

ANONYMOUS = "anon_inode:"


def descriptors():
    """All of this process, with what they are of."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except OSError:
            # The one that the list was read from.
            continue
    return found


def identity(descriptor, target):
    """What a copy (dup(2)) has, too. The kernel gives one name to all that are anonymous."""
    return (descriptor, target) if target.startswith(ANONYMOUS) else target


def opened(before):
    """Those whose identity is not among these, and are not Python's own."""
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    own = getattr(getattr(tracker, "_resource_tracker", None), "_fd", None)
    new = [entry for entry in descriptors() if identity(*entry) not in before]
    return [(descriptor, target) for descriptor, target in new if descriptor != own]


def not_for_forks(new):
    """What is wrong with these, in words."""
    mapped, timeout = mapped_files(), getdefaulttimeout()
    # With one, to look at a socket would change it.
    setdefaulttimeout(None)
    try:
        return [words for entry in new if (words := not_shared(*entry, mapped))]
    finally:
        setdefaulttimeout(timeout)


def not_shared(descriptor, target, mapped):
    """None: it can be shared, as devices, directories and listening sockets are."""
    if target.startswith(ANONYMOUS):
        return f"an {target[len(ANONYMOUS):].strip('[]')}"
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):
            return peer_of(descriptor)
        if stat.S_ISFIFO(mode):
            return f"the pipe {target!r}" if target.startswith("/") else "a pipe"
        if stat.S_ISREG(mode) and target.startswith("/"):
            return file(descriptor, target, mapped)
    except OSError:
        # It is gone.
        pass
    return None


def file(descriptor, path, mapped):
    with open(f"/proc/self/fdinfo/{descriptor}") as lines:
        info = dict(line.split(":", 1) for line in lines if ":" in line)
    if "lock" in info:
        return f"a lock on {path!r}"
    flags, place = int(info["flags"], 8), int(info["pos"])
    # Whoever only writes goes on where the last one has ended, as all do on standard error.
    writes = flags & os.O_APPEND or flags & (os.O_WRONLY | os.O_RDWR) == os.O_WRONLY
    # A map of memory keeps a descriptor that nobody reads.
    is_map = place == 0 and path in mapped
    return None if writes or is_map or flags & os.O_PATH else f"the file {path!r}"


def mapped_files():
    with open("/proc/self/maps", errors="surrogateescape") as lines:
        return {fields[5].rstrip("\n") for line in lines if len(fields := line.split(None, 5)) > 5}


def peer_of(descriptor):
    """None: nobody answers there."""
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
            host = f"[{host}]" if ":" in host else host
            return f"a connection to {host}:{port} (TCP)"
        return f"a connection to {peer} (family {int(end.family)})"
    except OSError:
        return None
    finally:
        end.detach()


def unix_peer(end, peer):
    if peer:
        return f"a connection to {os.fsdecode(peer)!r} (Unix)"
    pid, _, _ = unpack("3i", end.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
    return "a pair of sockets" if pid == os.getpid() else f"a connection to process {pid} (Unix)"
