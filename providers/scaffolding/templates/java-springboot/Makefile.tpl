IMAGE ?= [[ .ImageRepo ]]:latest

.PHONY: build run test image

build:
	mvn -B -q package

run:
	mvn -B -q spring-boot:run

test:
	mvn -B test

image:
	docker build -t $(IMAGE) .
