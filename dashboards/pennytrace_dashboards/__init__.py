"""Boards and alerts as code."""
