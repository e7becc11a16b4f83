FROM golang:1.22 AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /app ./cmd/_app_name_

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /app /app
USER 10001
ENTRYPOINT ["/app"]
