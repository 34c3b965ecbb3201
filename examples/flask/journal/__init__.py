"""A journal that several people write."""

import secrets
from pathlib import Path

from flask import Flask

from . import accounts, database, posts


def create_app():
    app = Flask(__name__)
    instance = Path(app.instance_path)
    instance.mkdir(exist_ok=True)
    app.config.from_mapping(
        DATABASE=instance / "journal.sqlite",
        PICTURES=Path(app.root_path).parent / "pictures",
        SECRET_KEY=secret(instance / "secret"),
        SESSION_COOKIE_SAMESITE="Lax",
    )
    app.teardown_appcontext(database.close)
    app.register_blueprint(accounts.blueprint)
    app.register_blueprint(posts.blueprint)
    with app.app_context():
        database.create()
    return app


def secret(file):
    """Signs the sessions; the same after a restart, so that people stay logged in."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex())
    return file.read_text()
