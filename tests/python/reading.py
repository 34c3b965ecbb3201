"""Reads its input as the query string says: calls, separated by `;`. Answers with a list."""

import io
from urllib.parse import unquote


def application(environ, start_response):
    stream = environ["wsgi.input"]
    results = []
    for call in unquote(environ["QUERY_STRING"]).split(";"):
        if call == "list":
            results.append(list(stream))
        elif call == "next":
            results.append(next(iter(stream), None))
        elif call == "io":
            results.append(io.BufferedReader(stream, 4).read(100))
        elif call == "text":
            results.append(io.TextIOWrapper(io.BufferedReader(stream)).readlines())
        elif call == "text itself":
            results.append(io.TextIOWrapper(stream).read())
        else:
            name, _, argument = call.partition(" ")
            arguments = [] if not argument else [None if argument == "None" else int(argument)]
            results.append(getattr(stream, name)(*arguments))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(results).encode()]


def hashed(environ, start_response):
    """Reads large content in pieces."""
    import hashlib

    digest = hashlib.sha256()
    while piece := environ["wsgi.input"].read(100_000):
        digest.update(piece)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [digest.hexdigest().encode()]
