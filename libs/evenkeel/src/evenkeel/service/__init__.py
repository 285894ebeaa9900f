"""A service as a process: the application, its settings, logs, server and readiness, and how it ends."""
