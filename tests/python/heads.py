"""Calls start_response in every way, by path."""

import sys

TEXT = [("Content-Type", "text/plain")]


def application(environ, start_response):
    kind = environ["PATH_INFO"][1:]
    return KINDS[kind](start_response)


def head(status, fields):
    def answer(start_response):
        start_response(status, fields)
        return [b"content"]

    return answer


def caught(status, fields, say=lambda error: type(error).__name__):
    """The mistake is the application's to handle."""

    def answer(start_response):
        try:
            start_response(status, fields)
        except (TypeError, ValueError) as error:
            start_response("200 OK", TEXT, sys.exc_info())
            return [say(error).encode()]
        return [b"no error"]

    return answer


def twice(start_response):
    start_response("200 OK", TEXT)
    try:
        start_response("201 Created", TEXT)
    except AssertionError:
        return [b"refused"]
    return [b"accepted"]


def replaced(start_response):
    start_response("200 OK", TEXT + [("X-First", "1"), ("Content-Length", "99")])
    try:
        raise KeyError("before")
    except KeyError:
        fields = TEXT + [("X-Second", "2")]
        start_response("500 Replaced", fields, exc_info=sys.exc_info())
    return [b"error page"]


def raised_again(start_response):
    write = start_response("200 OK", TEXT)
    write(b"sent")
    try:
        raise KeyError("after")
    except KeyError:
        try:
            start_response("500 Too Late", TEXT, sys.exc_info())
        except KeyError as error:
            return [b", then ", str(error).encode()]
    return [b"not raised"]


def mutated(start_response):
    fields = TEXT + [("X-A", "1")]
    start_response("200 OK", fields)
    fields.clear()
    return [b"content"]


def kept(start_response):
    """Of an ended request nothing can be used."""
    global KEPT
    if KEPT is None:
        KEPT = start_response("200 OK", TEXT)
        return [b"kept"]
    start_response("200 OK", TEXT)
    try:
        KEPT(b"late")
    except RuntimeError:
        return [b"refused"]
    return [b"accepted"]


KEPT = None
KINDS = {
    "plain": head("200 OK", TEXT),
    "custom-reason": head("299 Custom Reason", TEXT),
    "no-reason": head("200", TEXT),
    "latin-1": head("200 Tr\xe8s bien", [("X-Name", "caf\xe9")]),
    "beyond-latin-1": caught("200 OK", [("X-Name", "\u20ac")]),
    "repeated": head("200 OK", TEXT + [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]),
    "hop-by-hop": head("200 OK", TEXT + [("Connection", "close"), ("Keep-Alive", "5")]),
    "reserved": head("200 OK", TEXT + [("Forebay-Body-Fd", "0")]),
    "status-low": head("199 x", TEXT),
    "status-high": head("1000 x", TEXT),
    "status-text": head("abc", TEXT),
    "status-number": head(200, TEXT),
    "status-bytes": caught(b"200 OK", TEXT),
    "status-injected": caught("200 OK\r\nX-Evil: 1", TEXT),
    "name-injected": caught("200 OK", [("X-A: b\r\nX-Evil", "1")]),
    "value-injected": caught("200 OK", [("X-A", "b\r\nX-Evil: 1")]),
    "value-said": caught("200 OK", [("X-A", "b\r\nc")], str),
    "value-number": caught("200 OK", [("Content-Length", 7)]),
    "value-bytes": caught("200 OK", [("X-A", b"b")]),
    "length-text": caught("200 OK", [("Content-Length", "seven")]),
    "no-tuples": caught("200 OK", ["ab"]),
    "no-list": caught("200 OK", {"a": "b"}),
    "items": head("200 OK", dict(TEXT).items()),
    "tuple": head("200 OK", tuple(TEXT)),
    "lists": head("200 OK", [list(pair) for pair in TEXT]),
    "generator": lambda start: head("200 OK", (pair for pair in TEXT))(start),
    "failing-generator": caught("200 OK", map(int, ["a"])),
    "three": caught("200 OK", [["X-A", "b", "c"]]),
    "number": caught("200 OK", 7),
    "twice": twice,
    "replaced": replaced,
    "raised-again": raised_again,
    "mutated": mutated,
    "kept": kept,
}
