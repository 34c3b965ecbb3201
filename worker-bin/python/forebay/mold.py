"""A mold: loads an application once and forks workers that share its memory.

Started by worker-bin, before anything of the working directory can be imported. What it is to do is
in FOREBAY_MOLD; which worker is to be made, and when, worker-bin says on a socket.
"""

import contextlib
import faulthandler
import gc
import os
import signal
import sys
import time
import warnings

# Before the application is imported, which may replace the module's with those of greenlets.
from _thread import allocate_lock, start_new_thread

from forebay import _forebay, deadlines
from forebay.ending import finish, flush
from forebay.leftovers import Before
from forebay.loading import CannotLoad, load
from forebay.sources import Sources
from forebay.start import Start

FAILED = 1
CANNOT_LOAD = 4
STANDARD_ERROR = 2
# Seconds for the end of an import that is given up.
EXIT_WITHIN = 1.0
# Seconds between two looks whether sources have changed: at least these, and so many times what the
# last look has taken of a processor.
LOOK_EVERY = 1.0
LOOK_SELDOM = 20
# How much nicer a worker is when it ends.
ENDING = 10
# Seconds that a worker gives the arbiter to kill it in time, before it ends by itself.
ARBITER_FIRST = 1.0


def main():
    task = os.environ.pop("FOREBAY_MOLD", None)
    if task is None:
        print("forebay.mold is started by worker-bin, not by hand", file=sys.stderr)
        return 2
    try:
        mold = _forebay.Mold(task, sys.executable)
    except ValueError as error:
        print(f"forebay: {error}", file=sys.stderr)
        return CANNOT_LOAD
    # Absolute: the application may change the working directory.
    folders = list(map(os.fspath, mold.pythonpath))
    sys.path[:0] = [*folders, *here()]
    try:
        application = preload(mold) if mold.preloads else None
    except CannotLoad as error:
        _forebay.log_error(*error.args)
        # Threads that the import has begun would be waited for.
        in_time(finish)
        os._exit(CANNOT_LOAD)
    flush()
    gc.freeze()
    mold.loaded()
    sources = Sources(folders, application is not None) if mold.reloads else None
    while (order := wait(mold, sources)) is not None and not make(mold, order, application):
        pass
    # A mold or one of its workers: the interpreter ends, and whatever is there with it.
    gc.unfreeze()
    return 0


def here():
    """The working directory, if Python does not look there by itself."""
    try:
        directory = os.getcwd()
    except OSError:
        return []
    return [] if directory in sys.path or "" in sys.path else [directory]


def preload(mold):
    """The application, for all workers. If it cannot be forked, this process starts again, as it was
    before the import, for workers that import it for themselves.
    """
    start, before = Start(), Before()
    application = load(mold.application)
    gc.collect()
    if reasons := before.reasons():
        mold.cannot_share(", ".join(reasons))
        del application
        in_time(before.end)
        before.undo()
        start.again({"FOREBAY_MOLD": mold.pass_on()})
    start.close()
    return application


def in_time(function):
    """What may take too long, for as long as it may."""
    has_ended = allocate_lock()
    has_ended.acquire()

    def run():
        try:
            function()
        finally:
            has_ended.release()

    start_new_thread(run, ())
    has_ended.acquire(timeout=EXIT_WITHIN)


def wait(mold, sources):
    """Until a worker is to be made; None: no more."""
    pause = LOOK_EVERY
    while sources and not mold.wait(pause):
        begun = time.thread_time()
        if changed := sources.changed():
            mold.changed(changed)
        pause = max(LOOK_EVERY, LOOK_SELDOM * (time.thread_time() - begun))
    return mold.next()


def make(mold, order, application):
    """Forks twice, so that the worker becomes a child of the arbiter. True in that worker, when it
    has done its work and is to end as programs do.
    """
    child = None
    mold.expose()
    try:
        child = fork_first(mold)
    except OSError as error:
        mold.failed(order, str(error))
        return False
    finally:
        if child != 0:
            mold.hide()
    if child:
        # An application that sees to SIGCHLD may have been first.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)
        return False
    is_worker, code = False, FAILED
    try:
        mold.follow()
        is_worker = os.fork() == 0
        code = work(mold, order, application) if is_worker else 0
    except OSError as error:
        mold.failed(order, str(error))
    finally:
        # The mold's own end is not this process's business, unless it has become a worker.
        if code or not is_worker:
            os._exit(code)
    return True


def fork_first(mold):
    """The first time is nobody's business: what modules have registered for forks
    (os.register_at_fork, pthread_atfork) runs for the second one, once before it and once on each
    side. Only where there are other threads it is needed twice: to take the locks that these have.
    """
    if len(os.listdir("/proc/self/task")) == 1:
        return mold.fork_bare()
    with warnings.catch_warnings():
        # Python 3.12 warns of the threads.
        warnings.simplefilter("ignore")
        return os.fork()


def work(mold, order, application):
    """The life of a worker."""
    try:
        mold.join(order)
    except OSError:
        return FAILED
    if application is None:
        try:
            application = load(mold.application)
        except CannotLoad as error:
            _forebay.log_error(*error.args)
            in_time(finish)
            return CANNOT_LOAD
    code = deadlines.work(mold, order, application)
    # The end of the interpreter puts the default in the place of handlers that it knows, and TERM
    # would kill this process then: it comes to those who have retired, too.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mold.keep_term()
    # Those who still answer requests go first.
    os.nice(ENDING)
    if code:
        finish()
    else:
        # For threads that are no daemons, exit handlers and what else comes at the end. The arbiter
        # sees to that, too, unless somebody else has told this process to stop.
        within = mold.graceful_timeout + ARBITER_FIRST
        faulthandler.dump_traceback_later(within, exit=True, file=STANDARD_ERROR)
    return code


if __name__ == "__main__":
    sys.exit(main())
