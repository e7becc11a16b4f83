"""Where a web server finds the application."""

from app.web import create_app

app = create_app()
