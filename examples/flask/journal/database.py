"""One connection to the database per request."""

import sqlite3

from flask import current_app, g

TABLES = """
CREATE TABLE IF NOT EXISTS account (
    id INTEGER PRIMARY KEY,
    name TEXT UNIQUE NOT NULL,
    password TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS post (
    id INTEGER PRIMARY KEY,
    author INTEGER NOT NULL REFERENCES account (id),
    written TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    picture TEXT
);
"""


def connection():
    if "connection" not in g:
        g.connection = sqlite3.connect(current_app.config["DATABASE"])
        g.connection.row_factory = sqlite3.Row
    return g.connection


def create():
    connection().executescript(TABLES)


def change(statement, *values):
    """Executes and commits; the id of a new row."""
    with connection():
        return connection().execute(statement, values).lastrowid


def one(statement, *values):
    return connection().execute(statement, values).fetchone()


def close(_error):
    if found := g.pop("connection", None):
        found.close()
