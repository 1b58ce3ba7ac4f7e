"""Receive, journal, load, settle, catalog, store, reports: the collector."""
