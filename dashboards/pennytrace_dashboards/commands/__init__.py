"""The sub-commands that dashboards adds to `pennytrace`."""
