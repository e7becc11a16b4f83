# _app_name_

A web service in Go with [Gin](https://gin-gonic.com): a catalogue of albums kept in memory.

| request | answer |
|---|---|
| `GET /healthz` | `ok` |
| `GET /albums`, `GET /albums/1` | all albums, one album |
| `POST /albums` with `{"id", "title", "artist", "price"}` | 201, or 409 if the id is taken |

## Develop

```sh
make test                  # the first time this writes go.sum: commit it
make run                   # http://localhost:8080, another place with ADDRESS=:9090
```

## Deploy

```sh
make image                 # builds [[ .ImageRepo ]]:latest
helm upgrade --install _app_name_ helm/_app_name_ --set image.tag=latest
```

The chart's settings are explained in `helm/_app_name_/values.yaml`.
