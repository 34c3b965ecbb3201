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


time.sleep = sleep
threading.main_thread()._ident = get_ident() + 2
for module in (_thread, threading):
    module.get_ident = get_ident
