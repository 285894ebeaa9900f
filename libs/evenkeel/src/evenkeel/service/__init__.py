"""A service as a process: the application, settings, logs, the server, readiness, and leaving gracefully."""
