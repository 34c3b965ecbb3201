"""Hosts WSGI applications: the Python side of worker-bin, which starts it.

There is one thing to import here for an application: RequestTimeout, which is raised in a request
that takes too long. It is no Exception, so that a general `except Exception` does not stop it.
"""

from forebay._forebay import RequestTimeout

__all__ = ["RequestTimeout"]
