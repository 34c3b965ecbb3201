"""A guest book."""

import os
import sqlite3

import web

urls = ("/", "Book", "/write", "Write")
FOLDER = os.path.dirname(os.path.abspath(__file__))
FILE = os.path.join(FOLDER, "guests.sqlite")

with sqlite3.connect(FILE) as creating:
    creating.execute("CREATE TABLE IF NOT EXISTS entry (name TEXT NOT NULL, text TEXT NOT NULL)")
creating.close()

# Connects at the first use, which is in a worker: connections do not outlive a fork.
entries = web.database(dbn="sqlite", db=FILE)
render = web.template.render(os.path.join(FOLDER, "templates"))


class Book:
    def GET(self):
        web.header("Content-Type", "text/html; charset=utf-8")
        return render.book(entries.select("entry", order="rowid DESC", limit=100))


class Write:
    def POST(self):
        form = web.input(name="", text="")
        if form.name.strip() and form.text.strip():
            entries.insert("entry", name=form.name, text=form.text)
        raise web.seeother("/")


web.config.debug = False
application = web.application(urls, globals()).wsgifunc()
