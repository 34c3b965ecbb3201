"""Content in every form that PEP 3333 knows, by path. Counts its close() calls: /closed."""

import bz2
import functools
import gzip
import io
import lzma
import os
import tempfile
import time
import types

CLOSED = 0
TEXT = [("Content-Type", "text/plain")]
WRITTEN = []


class Closing:
    """An iterable with close()."""

    def __init__(self, pieces, length=None):
        self.pieces = iter(pieces)
        if length is not None:
            self.__class__ = type("Sized", (Closing,), {"__len__": lambda self: length})

    def __iter__(self):
        return self.pieces

    def close(self):
        global CLOSED
        CLOSED += 1


class ClosingFile(Closing):
    """What is only just a file."""

    def __init__(self, file):
        self.read, self.fileno, self.tell = file.read, file.fileno, file.tell


def failing(after):
    yield from after
    raise RuntimeError("in the middle")


def file_with(content, position=0):
    file = tempfile.TemporaryFile()
    file.write(content)
    file.flush()
    file.seek(position)
    return file


class Upper(io.BufferedReader):
    """What is read is not what is in the file."""

    def read(self, size=-1):
        return super().read(size).upper()


class UpperRaw(io.FileIO):
    """Likewise, below a buffer that knows nothing of it."""

    def readinto(self, buffer):
        count = super().readinto(buffer)
        buffer[:count] = bytes(buffer[:count]).upper()
        return count


class UpperWrapper:
    """Likewise, and looks like what it wraps."""

    def __init__(self, file):
        self.fileno, self.tell = file.fileno, file.tell
        self.read = functools.wraps(file.read)(lambda size: file.read(size).upper())


def packed(module, wrap):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "packed")
        with module.open(path, "wb") as out:
            out.write(b"unpacked")
        return wrap(module.open(path, "rb"))


PACKED = {
    "gzip-file": (gzip, lambda file: file),
    "bz2-file": (bz2, lambda file: file),
    "lzma-file": (lzma, lambda file: file),
    "buffered-gzip-file": (gzip, io.BufferedReader),
    "upper-file": (io, lambda file: Upper(file.detach())),
    "upper-raw-file": (io, lambda file: io.BufferedReader(UpperRaw(file.name))),
    "upper-wrapper": (io, UpperWrapper),
}


def application(environ, start_response):
    kind, _, argument = environ["PATH_INFO"][1:].partition("/")

    def start(*fields, status="200 OK"):
        return start_response(status, TEXT + list(fields))

    if kind == "lazy":
        return lazy(start_response)
    if kind == "closed":
        start()
        return [str(CLOSED).encode()]
    if kind == "unstarted":
        return [b"no head"]
    if kind == "unstarted-generator":
        return (piece for piece in [b"no head"])
    if kind == "none":
        start()
        return None
    if kind == "raise":
        raise RuntimeError("at once")
    if kind == "exit":
        raise SystemExit(1)
    if kind == "write":
        write = start()
        write(b"one ")
        write(b"two ")
        return [b"three"]
    if kind == "write-with-length":
        write = start(("Content-Length", "7"))
        write(b"one ")
        return [b"two"]
    if kind == "file":
        start()
        return environ["wsgi.file_wrapper"](file_with(b"0123456789" * 20_000, int(argument or 0)))
    if kind == "file-with-length":
        start(("Content-Length", argument))
        return environ["wsgi.file_wrapper"](file_with(b"0123456789"))
    if kind == "no-file":
        start()
        return environ["wsgi.file_wrapper"](io.BytesIO(b"0123456789" * 2000), 100)
    if kind == "file-at":
        start(("Content-Length", str(os.path.getsize("/" + argument))))
        return environ["wsgi.file_wrapper"](open("/" + argument, "rb"), 1 << 20)
    if kind == "named-file":
        file = tempfile.NamedTemporaryFile()
        file.write(b"named")
        file.seek(0)
        start()
        return environ["wsgi.file_wrapper"](file)
    if kind == "written-file":
        file = tempfile.TemporaryFile()
        file.write(b"0123456789" * 300)
        file.seek(0)
        file.read(4)
        file.write(b"####")
        file.seek(0)
        start()
        # Without a close, which would write it at last.
        WRITTEN.append(file)
        return environ["wsgi.file_wrapper"](types.SimpleNamespace(read=file.read))
    if kind == "raw-file":
        start()
        return environ["wsgi.file_wrapper"](open(__file__, "rb", buffering=0))
    if kind in PACKED:
        start()
        return environ["wsgi.file_wrapper"](packed(*PACKED[kind]))
    if kind == "made-up-file":
        start()
        return environ["wsgi.file_wrapper"](open("/proc/self/cmdline", "rb"))
    if kind == "rewrite":
        with open("/" + argument, "r+b") as file:
            file.write(b"b" * os.path.getsize("/" + argument))
        start()
        return [b"done"]
    if kind == "closing-file":
        start()
        return environ["wsgi.file_wrapper"](ClosingFile(file_with(b"file")))
    if kind == "slow":
        start()
        return slow("/" + argument)
    return CONTENT[kind](start, argument)


def slow(path):
    """The second piece comes when there is a file at the path."""
    yield b"first"
    while not os.path.exists(path):
        time.sleep(0.005)
    yield b"second"


def lazy(start_response):
    start_response("404 Not Here", TEXT + [("X-Lazy", "yes")])
    yield b"nothing"


def with_length(length, content, status="200 OK"):
    def answer(start, _argument):
        start(("Content-Length", str(length)), status=status)
        return content()

    return answer


def without_length(content, status="200 OK"):
    def answer(start, _argument):
        start(status=status)
        return content()

    return answer


CONTENT = {
    "list": without_length(lambda: [b"content"]),
    "pieces": without_length(lambda: [b"con", b"", b"tent"]),
    "tuple": without_length(lambda: (b"con", b"tent")),
    "many": without_length(lambda: [b"0123456789"] * 5000),
    "large": without_length(lambda: [b"0123456789" * 100_000]),
    "nothing": without_length(lambda: []),
    "generator": without_length(lambda: (piece for piece in [b"", b"con", b"", b"tent"])),
    "single": without_length(lambda: Closing([b"content"], 1)),
    "closing": without_length(lambda: Closing([b"con", b"tent"])),
    "exact": with_length(7, lambda: Closing([b"con", b"tent"])),
    "short": with_length(9, lambda: Closing([b"con", b"tent"])),
    "short-list": with_length(9, lambda: [b"content"]),
    "long": with_length(5, lambda: Closing([b"con", b"tent"])),
    "long-list": with_length(5, lambda: [b"content"]),
    "text": without_length(lambda: ["content"]),
    "text-generator": without_length(lambda: Closing([b"con", "tent"])),
    "number": without_length(lambda: 7),
    "fails-first": without_length(lambda: Closing(failing([]))),
    "fails-later": without_length(lambda: Closing(failing([b"con"]))),
    "no-content": without_length(lambda: [b"forbidden"], "204 No Content"),
    "not-modified": without_length(lambda: Closing([b"forbidden"]), "304 Not Modified"),
    "not-modified-7": with_length(7, lambda: [], "304 Not Modified"),
}
