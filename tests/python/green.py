"""Imported, replaces what gevent and eventlet do: each greenlet has a number of its own.

Its application is that of `late`.
"""

import _thread
import threading
import time

from late import application as application

thread_number, pause = _thread.get_ident, time.sleep
asleep = set()


def get_ident():
    """Another greenlet runs while the first one of a thread sleeps."""
    number = thread_number()
    return number + (number in asleep)


def sleep(seconds):
    asleep.add(thread_number())
    try:
        pause(seconds)
    finally:
        asleep.remove(thread_number())


def start(function, arguments=(), words={}, **_):
    """Another greenlet runs in the same thread, at the next occasion."""
    function(*arguments, **words)


time.sleep = sleep
threading.main_thread()._ident = get_ident() + 2
STARTS = ["start_new_thread", "start_joinable_thread"]
for module in (_thread, threading):
    module.get_ident = get_ident
    for name in STARTS + ["_" + name for name in STARTS]:
        if hasattr(module, name):
            setattr(module, name, start)
