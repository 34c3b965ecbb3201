"""Hosts WSGI applications: the Python side of worker-bin, which starts it.

There is nothing to import here for an application.
"""
