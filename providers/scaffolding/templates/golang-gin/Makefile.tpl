IMAGE ?= [[ .ImageRepo ]]:latest

.PHONY: build run test image

go.sum: go.mod
	go mod tidy

build: go.sum
	go build -o bin/_app_name_ ./cmd/_app_name_

run: go.sum
	go run ./cmd/_app_name_

test: go.sum
	go vet ./...
	go test ./...

image:
	docker build -t $(IMAGE) .
