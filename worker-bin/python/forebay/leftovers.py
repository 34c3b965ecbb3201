"""What an import leaves in its process, and what of that processes cannot share after a fork."""

import contextlib
import gc
import os
import signal
import sys
import threading
import time
import weakref
from glob import glob

from forebay.descriptors import descriptors, identity, not_for_forks, opened
from forebay.ending import finish
from forebay.sources import is_own, is_package, source

# Seconds for threads and processes that have been told to end.
END_WITHIN = 0.2
# The most that is named.
NAMED = 8


class Before:
    """As things are now, before an import."""

    def __init__(self):
        self.descriptors = {identity(*entry) for entry in descriptors()}
        self.finalizers = finalizers()
        self.modules = set(sys.modules)

    def reasons(self):
        """What is new and not for forks, in words."""
        found = lasting(threads)
        found += [f"the process {name(pid)}" for pid in lasting(children)]
        found += not_for_forks(opened(self.descriptors))
        at_exit = finalizers().items()
        found += [words(info) for key, info in at_exit if key not in self.finalizers]
        found = list(dict.fromkeys(found))
        more = len(found) - NAMED
        return found[:NAMED] + [f"{more} more"] * (more > 0)

    def end(self):
        """As programs end: exit handlers first, then what nobody has any more, such as the modules."""
        finish()
        for name in set(sys.modules) - self.modules:
            if (path := source(sys.modules[name])) and is_own(path):
                del sys.modules[name]
        gc.collect()

    def undo(self):
        """For another program in this process: nothing of that stays."""
        for descriptor, _ in opened(self.descriptors):
            os.set_inheritable(descriptor, False)
        for pid in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        lasting(children)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def lasting(find):
    """What it finds, if that does not end."""
    until = time.monotonic() + END_WITHIN
    while (found := find()) and time.monotonic() < until:
        time.sleep(0.01)
    return found


def threads():
    """Those besides this one, in words."""
    names = [thread.name for thread in threading.enumerate()]
    names.remove(threading.current_thread().name)
    native = len(os.listdir("/proc/self/task")) - 1 - len(names)
    unknown = [f"{native} threads that Python does not know"] * (native > 0)
    return [f"the thread {name!r}" for name in names] + unknown


def children():
    """Those that run, but for Python's own."""
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    own = getattr(getattr(tracker, "_resource_tracker", None), "_pid", None)
    found = []
    # Where the kernel does not have these files, there are none.
    for path in glob("/proc/self/task/*/children"):
        with contextlib.suppress(OSError), open(path) as file:
            found += map(int, file.read().split())
    return [pid for pid in found if pid != own and is_running(pid)]


def is_running(pid):
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def name(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", errors="replace") as file:
        return f"{pid} ({file.read().strip()})"
    return str(pid)


def finalizers():
    """What `weakref.finalize` has for the exit, where Python keeps it there, and not for memory
    alone: that is what installed packages have it for.
    """
    registry = dict(getattr(weakref.finalize, "_registry", {}))
    at_exit = {key: info for key, info in registry.items() if info.atexit}
    return {key: info for key, info in at_exit.items() if not is_package(place(info.func))}


def place(function):
    """The file of its module; empty: there is none."""
    module = sys.modules.get(getattr(function, "__module__", None))
    return getattr(module, "__file__", None) or ""


def words(info):
    return f"{getattr(info.func, '__qualname__', info.func)} at the exit (weakref.finalize)"
