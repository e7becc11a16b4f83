# _app_name_

A web service in Python with [Flask](https://flask.palletsprojects.com): it greets, and keeps notes in memory.

| request | answer |
|---|---|
| `GET /` | `Hello, World!` |
| `GET /healthz` | `ok` |
| `GET /notes`, `GET /notes/1` | all notes, one note |
| `POST /notes` with `{"text"}` | 201 and the note |

## Develop

```sh
make test
make run                   # http://localhost:8080
```

## Deploy

```sh
make image                 # builds [[ .ImageRepo ]]:latest
helm upgrade --install _app_name_ helm/_app_name_ --set image.tag=latest
```

The chart's settings are explained in `helm/_app_name_/values.yaml`.
