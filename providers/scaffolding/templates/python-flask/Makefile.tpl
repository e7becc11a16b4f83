IMAGE ?= [[ .ImageRepo ]]:latest
PYTHON ?= .venv/bin/python

.PHONY: run test image

.venv: requirements.txt
	python3 -m venv .venv
	.venv/bin/python -m pip install -q -r requirements.txt
	touch .venv

run: .venv
	$(PYTHON) -m flask --app wsgi run --port 8080 --debug

test: .venv
	$(PYTHON) -m unittest

image:
	docker build -t $(IMAGE) .
