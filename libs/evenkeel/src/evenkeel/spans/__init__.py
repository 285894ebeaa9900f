"""Spans for OpenTelemetry that cost little: how they are recorded and encoded. It needs the extra [telemetry]."""
