/bin/
coverage.out
