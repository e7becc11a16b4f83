image:
  repository: [[ .ImageRepo ]]
  # Empty: the chart's appVersion.
  tag: ""
  pullPolicy: IfNotPresent
imagePullSecrets: []

# When to run, as in cron(5).
schedule: "0 3 * * *"
args: ["-json", "/etc/hostname"]

resources:
  requests:
    cpu: 50m
    memory: 16Mi
  limits:
    memory: 64Mi
