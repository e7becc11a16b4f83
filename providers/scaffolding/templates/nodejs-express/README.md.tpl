# _app_name_

A web service in JavaScript with [Express](https://expressjs.com): it greets, and keeps tasks in memory.

| request | answer |
|---|---|
| `GET /` | `Hello, World!` |
| `GET /healthz` | `ok` |
| `GET /tasks` | all tasks |
| `POST /tasks` with `{"title"}` | 201 and the task |
| `POST /tasks/1/done` | the task, done |

## Develop

```sh
make test
make run                   # http://localhost:8080, another port with PORT=9090
```

## Deploy

```sh
make image                 # builds [[ .ImageRepo ]]:latest
helm upgrade --install _app_name_ helm/_app_name_ --set image.tag=latest
```

The chart's settings are explained in `helm/_app_name_/values.yaml`.
