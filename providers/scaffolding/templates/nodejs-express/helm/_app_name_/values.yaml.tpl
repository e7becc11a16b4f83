image:
  repository: [[ .ImageRepo ]]
  # Empty: the chart's appVersion.
  tag: ""
  pullPolicy: IfNotPresent
imagePullSecrets: []

replicas: 1

service:
  type: ClusterIP
  port: 80

# Added to the container, for example: - name: LOG_LEVEL, value: debug
env: []

resources:
  requests:
    cpu: 50m
    memory: 64Mi
  limits:
    memory: 256Mi
