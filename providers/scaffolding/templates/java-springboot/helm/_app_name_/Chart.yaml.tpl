apiVersion: v2
name: _app_name_
description: A web service in Java
type: application
version: 0.1.0
appVersion: "0.1.0"
