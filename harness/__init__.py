"""The harness: starts a system, drives clients and faults at it, records, judges, reports."""
