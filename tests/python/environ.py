"""Answers with its environ as JSON: strings as they are, other values as Python writes them."""

import json
from wsgiref.validate import validator


def application(environ, start_response):
    if environ["PATH_INFO"] == "/changed":
        environ.clear()
        environ["PATH_INFO"] = "mine"
    values = {
        key: value if type(value) is str else f"{type(value).__name__} {value!r}"
        for key, value in environ.items()
    }
    values["type"] = type(environ).__name__
    content = json.dumps(values).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [content]


def checked_application(environ, start_response):
    environ["wsgi.input"].read(100)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"con", b"tent"]


# The checker of Python's own library raises where it finds the server at fault.
checked = validator(checked_application)
