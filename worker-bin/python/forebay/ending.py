"""How a program of Python ends, where the process itself goes on or must not wait for all of it."""

import atexit
import contextlib
import gc
import io

# What holds text or bytes that it has not passed on yet.
BUFFERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


def finish():
    """What was registered for the exit runs, and nothing that was written is lost."""
    # It has shown the traceback itself. Python 3.9 raises it once more.
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    gc.unfreeze()
    flush()


def flush():
    """All files. A fork would copy what they hold, for each process to write it."""
    for found in gc.get_objects():
        # By its type: a proxy may answer isinstance() for another object, or fail.
        if issubclass(type(found), BUFFERS):
            with contextlib.suppress(Exception):
                found.flush()
