"""Posts, and their pictures."""

import secrets
from pathlib import Path

from flask import (
    Blueprint,
    abort,
    current_app,
    flash,
    g,
    redirect,
    render_template,
    request,
    send_from_directory,
    url_for,
)

from . import database
from .accounts import for_members

blueprint = Blueprint("posts", __name__)
PICTURES = (".gif", ".jpg", ".jpeg", ".png", ".webp")


@blueprint.get("/")
def index():
    found = database.connection().execute(
        "SELECT post.*, account.name FROM post JOIN account ON account.id = post.author"
        " ORDER BY post.id DESC"
    )
    return render_template("posts.html", posts=found.fetchall())


@blueprint.route("/write", methods=("GET", "POST"))
@for_members
def write():
    if request.method == "POST" and (fields := title_text_picture(None)):
        database.change(
            "INSERT INTO post (title, text, picture, author) VALUES (?, ?, ?, ?)",
            *fields,
            g.account["id"],
        )
        return redirect(url_for("posts.index"))
    return render_template("post.html", post=None)


@blueprint.route("/<int:number>/change", methods=("GET", "POST"))
@for_members
def change(number):
    post = own(number)
    if request.method == "POST" and (fields := title_text_picture(post["picture"])):
        database.change(
            "UPDATE post SET title = ?, text = ?, picture = ? WHERE id = ?", *fields, number
        )
        return redirect(url_for("posts.index"))
    return render_template("post.html", post=post)


@blueprint.post("/<int:number>/delete")
@for_members
def delete(number):
    remove_picture(own(number)["picture"])
    database.change("DELETE FROM post WHERE id = ?", number)
    return redirect(url_for("posts.index"))


@blueprint.get("/pictures/<name>")
def picture(name):
    """Without an edge that does it."""
    return send_from_directory(current_app.config["PICTURES"], name)


def own(number):
    """A post of whoever asks."""
    post = database.one("SELECT * FROM post WHERE id = ?", number) or abort(404)
    if post["author"] != g.account["id"]:
        abort(403)
    return post


def title_text_picture(old_picture):
    """What the form says; None if that will not do."""
    title, text = request.form["title"].strip(), request.form["text"]
    file = request.files.get("picture")
    if not title:
        flash("A title is needed.")
        return None
    if not file:
        return title, text, old_picture
    suffix = Path(file.filename).suffix.lower()
    if suffix not in PICTURES:
        flash("A picture is one of " + ", ".join(PICTURES))
        return None
    name = secrets.token_hex(8) + suffix
    file.save(current_app.config["PICTURES"] / name)
    remove_picture(old_picture)
    return title, text, name


def remove_picture(name):
    if name:
        (current_app.config["PICTURES"] / name).unlink(missing_ok=True)
