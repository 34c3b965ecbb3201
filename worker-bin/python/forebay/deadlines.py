"""Requests that take too long: the log says where they are, and they are interrupted.

worker-bin sends two signals: one when a request is overdue, which this module makes a traceback and
an exception of, and another before the process is killed. The latter needs no interpreter: it
tells where a thread is that has not let go of it.
"""

import faulthandler
import os
import signal
import sys
import traceback

# Before the application is imported, which may replace the module's with that of greenlets.
from _thread import get_ident

from forebay import _forebay

STANDARD_ERROR = 2


def work(mold, order, application):
    """Works, and gives the exit code."""
    overdue, killed = mold.signals
    faulthandler.register(killed, file=STANDARD_ERROR, all_threads=True)
    # An application that handles ABRT gets that instead.
    if not callable(signal.getsignal(signal.SIGABRT)):
        signal.signal(overdue, lambda _, frame: interrupt(mold, frame))
    # worker-bin has a handler of its own over this one, which is what an application gets to call
    # or to put back.
    signal.signal(signal.SIGTERM, lambda *_: mold.stop())
    signal.set_wakeup_fd(mold.handle_signals(), warn_on_full_buffer=False)
    return mold.work(order, application)


def interrupt(mold, frame):
    """In the main thread, which may be the one that is late: `frame` is where it was."""
    mold.stop()
    own = get_ident()
    frames = {**sys._current_frames(), own: frame}
    is_late = False
    for thread, request, age in mold.overdue():
        _forebay.log_error(
            f"request {request or '(without id)'} has been running for {age:.1f} s and is "
            f"interrupted with forebay.RequestTimeout, here:",
            "".join(traceback.format_list(stack(frames.get(thread)))),
        )
        if thread == own:
            is_late = True
        else:
            mold.interrupt(thread)
    if is_late:
        raise _forebay.RequestTimeout


def stack(frame):
    """Where it is, as far as that is the application's."""
    entries = traceback.extract_stack(frame)
    ours = [place for place, entry in enumerate(entries) if is_ours(entry.filename)]
    return entries[ours[-1] + 1 :] if ours else entries


def is_ours(file_name):
    return os.path.dirname(file_name) == os.path.dirname(__file__)
