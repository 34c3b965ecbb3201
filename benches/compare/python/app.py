"""The application behind gunicorn: what the paths of our probe do, in the same pieces."""

import os
import time

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
    if path.startswith("/file/"):
        size = int(path.split("/")[2])
        start_response("200 OK", [("Content-Type", "application/octet-stream"),
                                  ("Content-Length", str(size))])
        return environ["wsgi.file_wrapper"](open(file(size), "rb"), PIECE)
    if path.startswith("/sleep/"):
        time.sleep(int(path.split("/")[2]) / 1000)
    is_counted = path == "/length"
    content = str(length(environ)).encode() if is_counted else b"Hello, world!"
    start_response("200 OK", [("Content-Type", "text/plain"),
                              ("Content-Length", str(len(content)))])
    return [content]


def length(environ):
    total, stream = 0, environ["wsgi.input"]
    while piece := stream.read(PIECE):
        total += len(piece)
    return total


def file(size):
    """One of so many bytes, beside this module. Two workers may make it at the same time."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{size}.bin")
    if not os.path.exists(path):
        unfinished = f"{path}.{os.getpid()}"
        with open(unfinished, "wb") as out:
            out.writelines(PATTERN[:min(PIECE, size - at)] for at in range(0, size, PIECE))
        os.rename(unfinished, path)
    return path
