"""The application behind gunicorn: what the paths of our probe do, in the same pieces."""

PIECE = 65536
ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
PATTERN = ALPHABET * (PIECE // len(ALPHABET))


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/bytes/"):
        size = int(path.split("/")[2])
        start_response("200 OK", [("Content-Type", "application/octet-stream"),
                                  ("Content-Length", str(size))])
        return (PATTERN[:min(PIECE, size - at)] for at in range(0, size, PIECE))
    content = b"Hello, world!" if path == "/hello" else str(length(environ)).encode()
    start_response("200 OK", [("Content-Type", "text/plain"),
                              ("Content-Length", str(len(content)))])
    return [content]


def length(environ):
    total, stream = 0, environ["wsgi.input"]
    while piece := stream.read(PIECE):
        total += len(piece)
    return total
