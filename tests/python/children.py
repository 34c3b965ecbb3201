"""An application that forks children which come back to the server, each in its own way.

The answer is the exit code of the child, for which the parent waits.
"""

import atexit
import os
import sys

has_served = False
# The process that has imported this runs it as well.
atexit.register(lambda: has_served and print("at exit", flush=True))


def forked():
    """In the child None, in the parent how the child has ended."""
    child = os.fork()
    if child == 0:
        return None
    _, status = os.waitpid(child, 0)
    return str(os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)).encode()


def returns(argument):
    code = forked()
    if code is None:
        print("kept back until the end")
    return [code or b"from the child"]


def exits(argument):
    code = forked()
    if code is None:
        sys.exit(int(argument) if argument and argument.isdigit() else argument)
    return [code]


def raises(argument):
    code = forked()
    if code is None:
        raise RuntimeError("in the child")
    return [code]


def stream_exits(argument):
    code = forked()
    if code is None:
        sys.exit(5)
    yield code


def stream_goes_on(argument):
    code = forked()
    yield code or b"from the child"


class close_exits:
    """The answer has been sent by then: `/last` has the code."""

    last = b""

    def __init__(self, argument):
        pass

    def __iter__(self):
        yield b"0"

    def close(self):
        close_exits.last = forked() or sys.exit(6)


def last(argument):
    return [close_exits.last]


def pid(argument):
    return [str(os.getpid()).encode()]


def application(environ, start_response):
    global has_served
    has_served = True
    name, _, argument = environ["PATH_INFO"][1:].partition("/")
    answer = globals()[name.replace("-", "_")](argument or None)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return answer
