"""Public contract suites: what every store, locker, session and provider must do, and fakes to try it with."""
