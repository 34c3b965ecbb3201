"""Who is who: registering, logging in and out."""

import functools
import sqlite3

from flask import Blueprint, flash, g, redirect, render_template, request, session, url_for
from werkzeug.security import check_password_hash, generate_password_hash

from . import database

blueprint = Blueprint("accounts", __name__)


@blueprint.before_app_request
def know_who_asks():
    g.account = None
    if number := session.get("account"):
        g.account = database.one("SELECT * FROM account WHERE id = ?", number)


def for_members(view):
    """Others are asked to log in first."""

    @functools.wraps(view)
    def guarded(**arguments):
        if g.account is None:
            return redirect(url_for("accounts.log_in"))
        return view(**arguments)

    return guarded


@blueprint.route("/register", methods=("GET", "POST"))
def register():
    if request.method == "POST":
        name, password = request.form["name"].strip(), request.form["password"]
        if not name or not password:
            flash("A name and a password are needed.")
        else:
            try:
                database.change(
                    "INSERT INTO account (name, password) VALUES (?, ?)",
                    name,
                    generate_password_hash(password),
                )
                return redirect(url_for("accounts.log_in"))
            except sqlite3.IntegrityError:
                flash(f"{name} is taken.")
    return render_template("account.html", title="Register")


@blueprint.route("/log-in", methods=("GET", "POST"))
def log_in():
    if request.method == "POST":
        found = database.one("SELECT * FROM account WHERE name = ?", request.form["name"].strip())
        if found and check_password_hash(found["password"], request.form["password"]):
            session.clear()
            session["account"] = found["id"]
            return redirect(url_for("posts.index"))
        flash("That is not a name and its password.")
    return render_template("account.html", title="Log in")


@blueprint.post("/log-out")
def log_out():
    session.clear()
    return redirect(url_for("posts.index"))
