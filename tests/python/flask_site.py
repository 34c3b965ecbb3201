"""A Flask application: a page, an error, a form with a file, a download, a stream."""

import os

from flask import Flask, Response, request, send_file, session

app = Flask(__name__)
app.secret_key = "for tests"


@app.get("/")
def page():
    return f"Hello, {request.args.get('name', 'world')}"


@app.get("/boom")
def boom():
    raise RuntimeError("as asked")


@app.post("/upload")
def upload():
    file = request.files["file"]
    return {"name": file.filename, "bytes": len(file.read()), "field": request.form["field"]}


@app.get("/download")
def download():
    return send_file(os.environ["DOWNLOAD"], conditional=True)


@app.get("/stream")
def stream():
    return Response((f"{number}\n" for number in range(3)), mimetype="text/plain")


@app.get("/count")
def count():
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


def create(name="factory"):
    """A factory."""
    made = Flask(__name__)
    made.add_url_rule("/", "page", lambda: name)
    return made
