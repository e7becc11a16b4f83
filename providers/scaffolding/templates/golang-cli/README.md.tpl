# _app_name_

A command line tool in Go without dependencies: it counts lines, words and bytes of files, or of its input.

```console
$ echo "two words" | _app_name_ -json
{"name":"-","lines":1,"words":2,"bytes":10}
```

## Develop

```sh
make test
make build                 # bin/_app_name_
```

## Deploy

```sh
make image                 # builds [[ .ImageRepo ]]:latest
helm upgrade --install _app_name_ helm/_app_name_ --set image.tag=latest
```

The chart's settings are explained in `helm/_app_name_/values.yaml`.
