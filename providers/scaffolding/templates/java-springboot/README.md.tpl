# _app_name_

A web service in Java 17 with [Spring Boot](https://spring.io/projects/spring-boot).

| request | answer |
|---|---|
| `GET /healthz` | `ok` |
| `GET /greeting?name=Ann` | `{"number": 1, "text": "Hello, Ann!"}` |

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
