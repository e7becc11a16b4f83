IMAGE ?= [[ .ImageRepo ]]:latest

.PHONY: build test image

build:
	go build -o bin/_app_name_ ./cmd/_app_name_

test:
	go vet ./...
	go test ./...

image:
	docker build -t $(IMAGE) .
