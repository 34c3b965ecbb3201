"""Cases of PEP 3333 by path. Where a case can judge for itself, its content is the judgement."""

import functools
import io
import os
import sys
import tempfile
import time
import weakref
from wsgiref.util import request_uri

TEXT = [("Content-Type", "text/plain")]
# What cases leave for those who ask later: /seen/NAME.
SEEN = {"calls": 0, "closed": 0, "running": 0, "most": 0, "pieces": 0}
CASES = {}


def application(environ, start_response, /):
    SEEN["calls"] += 1
    name, _, argument = environ["PATH_INFO"][1:].partition("/")
    return CASES[name](environ, start_response, argument)


class Class:
    """An application whose instances are iterables."""

    def __init__(self, environ, start_response, /):
        self.answer = application(environ, start_response)

    def __iter__(self):
        return iter(self.answer)


class Instance:
    def __call__(self, environ, start_response, /):
        return application(environ, start_response)

    def method(self, environ, start_response, /):
        return application(environ, start_response)

    @staticmethod
    def static(environ, start_response, /):
        return application(environ, start_response)


instance = Instance()
partial = functools.partial(lambda _bound, environ, start: application(environ, start), None)


def case(function):
    """At the path of its name."""
    CASES[function.__name__.replace("_", "-")] = function
    return function


def judge(function):
    """A case whose result is its content."""

    @functools.wraps(function)
    def answer(environ, start_response, argument):
        start_response("200 OK", TEXT)
        return [str(function(environ, argument)).encode("latin-1")]

    return case(answer)


@judge
def seen(_environ, name):
    return SEEN[name]


@judge
def keys(environ, _argument):
    """Whatever is not as "environ Variables" and "Unicode Issues" have it."""
    wrong = [key for key in environ if type(key) is not str]
    for key, value in environ.items():
        if "." in key:
            is_right = key.startswith("wsgi.") and key == key.lower()
        else:
            is_right = type(value) is str and all(ord(letter) < 256 for letter in value)
        wrong += [] if is_right else [(key, value)]
    required = "REQUEST_METHOD SCRIPT_NAME PATH_INFO QUERY_STRING SERVER_NAME SERVER_PORT"
    wsgi = "version url_scheme input errors multithread multiprocess run_once"
    wanted = [*required.split(), "SERVER_PROTOCOL", *("wsgi." + key for key in wsgi.split())]
    wrong += [key for key in wanted if key not in environ]
    wrong += [key for key in ("REMOTE_USER", "CONTENT_TYPE", "HTTP_COOKIE") if key in environ]
    return wrong + [key for key in ("SERVER_NAME", "SERVER_PORT") if not environ.get(key)]


@judge
def errors(environ, _argument):
    stream = environ["wsgi.errors"]
    stream.write("a line: \u20ac \udc80\n")
    stream.writelines(["first of two\n", "second of two\n"])
    stream.flush()
    return "written"


@judge
def read(environ, _argument):
    stream = environ["wsgi.input"]
    return stream.read(100), stream.read(), stream.readline(), list(stream)


@judge
def url(environ, _argument):
    return request_uri(environ)


@judge
def protocol(environ, _argument):
    return environ["SERVER_PROTOCOL"]


@judge
def running(_environ, _argument):
    SEEN["running"] += 1
    SEEN["most"] = max(SEEN["most"], SEEN["running"])
    time.sleep(0.02)
    SEEN["running"] -= 1
    return "ran"


@case
def binary(_environ, start_response, _argument):
    start_response("200 OK", TEXT, None)
    return [bytes(range(256)), b"\n\r\r\n\n"]


class Watched:
    """An iterable that knows who looks at it."""

    used = set()

    def __getattribute__(self, name):
        Watched.used.add(name)
        return object.__getattribute__(self, name)

    def __iter__(self):
        return iter([b"con", b"tent"])


@case
def watched(_environ, start_response, _argument):
    start_response("200 OK", TEXT)
    return Watched()


@judge
def used(_environ, _argument):
    return sorted(Watched.used)


@case
def endless(_environ, start_response, _argument):
    start_response("200 OK", TEXT)
    return pieces()


def pieces():
    try:
        while True:
            SEEN["pieces"] += 1
            yield b"0123456789" * 1000
    finally:
        SEEN["closed"] += 1


@case
def enough(_environ, start_response, argument):
    start_response("200 OK", TEXT + [("Content-Length", argument)])
    return pieces()


@case
def cases(_environ, start_response, _argument):
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    fields = [("cOnTeNt-LeNgTh", "7"), ("dAtE", date), ("sErVeR", "mine")]
    start_response("200 OK", fields)
    return (piece for piece in [b"content"])


@case
def late(_environ, start_response, _argument):
    """The head is not sent before there is content."""
    start_response("200 OK", TEXT)
    yield b""
    yield b""
    try:
        raise KeyError("late")
    except KeyError:
        start_response("500 Replaced", TEXT, sys.exc_info())
    yield b"error page"


@case
def failed_before(_environ, start_response, argument):
    """A call that has failed is a call. The argument is what was wrong with it."""
    status, fields = {
        "status": ("200 \u20ac", TEXT),
        "control": ("200 O\x07K", TEXT),
        "name": ("200 OK", [("X A", "1")]),
        "value": ("200 OK", [("X-A", "1\x00")]),
    }[argument]
    try:
        start_response(status, fields)
    except ValueError:
        try:
            start_response("200 OK", TEXT)
        except AssertionError:
            start_response("200 OK", TEXT, sys.exc_info())
            return [b"refused"]
    return [b"accepted"]


class Oops(Exception):
    """Can be referred to weakly."""


@case
def reference(_environ, start_response, _argument):
    """Nobody holds what was in exc_info."""
    try:
        raise Oops
    except Oops as error:
        held = weakref.ref(error)
        start_response("500 Oops", TEXT, sys.exc_info())
    return [b"held" if held() else b"gone"]


@case
def write_beyond(_environ, start_response, _argument):
    write = start_response("200 OK", TEXT + [("Content-Length", "3")])
    write(b"abc")
    try:
        write(b"d")
        SEEN["beyond"] = "accepted"
    except ValueError:
        SEEN["beyond"] = "refused"
    return []


@case
def write_text(_environ, start_response, _argument):
    write = start_response("200 OK", TEXT)
    try:
        write("text")
    except TypeError:
        return [b"refused"]
    return [b"accepted"]


@case
def write_only(_environ, start_response, _argument):
    write = start_response("200 OK", TEXT)
    write(b"con")
    write(b"tent")
    return []


@case
def write_slowly(_environ, start_response, path):
    write = start_response("200 OK", TEXT)
    write(b"first")
    while not os.path.exists("/" + path):
        time.sleep(0.005)
    write(b"second")
    return [b"third"]


@case
def several(_environ, start_response, _argument):
    start_response("200 OK", TEXT)
    return (piece for piece in [b"con", b"tent"])


@case
def own_fields(environ, start_response, _argument):
    """Semantics are the application's: the server plays dumb."""
    fields = [("ETag", '"a"'), ("Content-Encoding", "gzip"), ("Cache-Control", "private")]
    asked = environ.get("HTTP_IF_NONE_MATCH", "") + environ.get("HTTP_RANGE", "")
    start_response("200 Fine", fields + [("Vary", "*"), ("X-Asked", asked)])
    return [b"no gzip"]


def file(content=b"0123456789"):
    made = tempfile.TemporaryFile()
    made.write(content)
    made.flush()
    made.seek(0)
    return made


@case
def unsent_file(environ, start_response, _argument):
    start_response("200 OK", TEXT)
    made = file()
    assert environ["wsgi.file_wrapper"](made, blksize=4).blksize == 4
    return [str(made.tell()).encode()]


@case
def moved_file(environ, start_response, _argument):
    start_response("200 OK", TEXT)
    made = file()
    wrapper = environ["wsgi.file_wrapper"](made)
    made.seek(8)
    return wrapper


@case
def file_in_middleware(environ, start_response, _argument):
    start_response("200 OK", TEXT)
    wrapper = environ["wsgi.file_wrapper"](file(b"abc"), 1)
    return (piece.upper() for piece in wrapper)


class Bare:
    """No more than a file-like object has to have."""

    def __init__(self, content):
        self.read = io.BytesIO(content).read


@case
def bare_file(environ, start_response, _argument):
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](Bare(b"bare"))


@judge
def closed_file(environ, _argument):
    made = file()
    environ["wsgi.file_wrapper"](made).close()
    return made.closed
