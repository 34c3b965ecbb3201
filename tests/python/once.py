"""/once/ID/MS as the application `probe` has it: one line in the log per execution."""

import os
import time

import flask


def run(path):
    _, _, number, milliseconds = path.split("/")
    log = os.open(os.environ["PROBE_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    # In one write, so that lines of several workers do not mix.
    os.write(log, f"{number}\n".encode())
    os.close(log)
    time.sleep(int(milliseconds) / 1000)
    return number


def application(environ, start_response):
    content = run(environ["PATH_INFO"]).encode()
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [content]


site = flask.Flask(__name__)


@site.post("/once/<int:number>/<int:milliseconds>")
def once(number, milliseconds):
    content = run(flask.request.path)
    flask.request.get_data()
    return content
