apiVersion: v2
name: _app_name_
description: A command line tool in Go, run on a schedule
type: application
version: 0.1.0
appVersion: "0.1.0"
