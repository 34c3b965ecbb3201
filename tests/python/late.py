"""An application whose requests take too long, each in its own way."""

import os
import re
import signal
import socket
import threading
import time

aborted = threading.Event()
if "LATE_ABORTS" in os.environ:
    signal.signal(signal.SIGABRT, lambda signal, frame: aborted.set())


def loop(environ):
    while True:
        pass


def sleep(environ):
    time.sleep(600)


def holds_the_interpreter(environ):
    # A built-in function that neither looks for signals nor lets others run.
    return sum(range(10**12))


def backtracks(environ):
    return re.match("(a+)+$", "a" * 60 + "b")


def holds_the_interpreter_later(environ):
    def hold():
        time.sleep(0.2)
        holds_the_interpreter(environ)

    threading.Thread(target=hold, daemon=True).start()
    return pid(environ)


def catches_exceptions(environ):
    while True:
        try:
            time.sleep(600)
        except Exception:
            pass


def catches_everything(environ):
    while True:
        try:
            time.sleep(600)
        except BaseException:
            pass


def cleans_up(environ):
    try:
        time.sleep(600)
    finally:
        with open(os.environ["LATE_LOG"], "a") as log:
            log.write("cleaned up\n")


def stream(environ):
    yield b"first"
    time.sleep(600)


def fill():
    """Leaves no room in the connection, a Unix socket, for what the server sends."""
    for name in os.listdir("/proc/self/fd"):
        try:
            connection = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        with connection:
            try:
                while os.environ["LATE_SOCKET"] == connection.getsockname():
                    connection.send(b"a" * 4096, socket.MSG_DONTWAIT)
            except OSError:
                # It is full, or it is the one that listens.
                pass


def fills_and_ends(environ):
    yield b"first"
    fill()


def fills_and_fails(environ):
    fill()
    raise RuntimeError


def until_abort(environ):
    while not aborted.is_set():
        time.sleep(0.001)
    return pid(environ)


def pid(environ):
    return [str(os.getpid()).encode()]


def at_once(environ):
    return [b"at once"]


def application(environ, start_response):
    name = environ["PATH_INFO"][1:].replace("-", "_")
    if name == "writes":
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"a" * (32 << 20))
        return [b"end"]
    answer = globals()[name](environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return answer
