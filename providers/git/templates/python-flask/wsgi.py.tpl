"""Where a web server finds the application."""

from app import create_app

app = create_app()
