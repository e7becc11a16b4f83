IMAGE ?= [[ .ImageRepo ]]:latest

.PHONY: run test image

node_modules: package.json package-lock.json
	npm ci
	touch node_modules

run: node_modules
	npm start

test: node_modules
	npm test

image:
	docker build -t $(IMAGE) .
