__pycache__/
.venv/
