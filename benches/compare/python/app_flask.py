"""Flask, with two routes."""

import time

from flask import Flask

application = Flask(__name__)


@application.route("/hello")
def hello():
    return "Hello, world!", {"Content-Type": "text/plain"}


@application.route("/sleep/<int:ms>")
def sleep(ms):
    time.sleep(ms / 1000)
    return hello()
