"""The routes: greetings, and notes kept in memory."""

from flask import Flask, jsonify, request

from app.notes import Notes


def create_app(notes=None):
    """Make the application; `notes` is where notes are kept, in a new place if not given."""
    app = Flask(__name__)
    kept = Notes() if notes is None else notes

    @app.get("/")
    def hello():
        return "Hello, World!"

    @app.get("/healthz")
    def healthz():
        return "ok"

    @app.get("/notes")
    def listed():
        return jsonify(kept.all())

    @app.get("/notes/<int:number>")
    def one(number):
        text = kept.get(number)
        if text is None:
            return jsonify(error="no such note"), 404
        return jsonify(id=number, text=text)

    @app.post("/notes")
    def add():
        text = (request.get_json(silent=True) or {}).get("text")
        if not isinstance(text, str) or not text.strip():
            return jsonify(error="text is needed"), 400
        return jsonify(id=kept.add(text), text=text), 201

    return app
