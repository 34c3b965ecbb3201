"""Reads its input as the query string says: calls, separated by `;`. Answers with a list."""

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
            import io

            results.append(io.BufferedReader(Raw(stream)).read(100))
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


class Raw:
    """What io.BufferedReader needs of a raw stream."""

    closed = False

    def __init__(self, stream):
        self.readinto = stream.readinto

    def readable(self):
        return True

    def writable(self):
        return False

    def seekable(self):
        return False
