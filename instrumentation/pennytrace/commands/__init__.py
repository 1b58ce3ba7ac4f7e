"""The app side's own sub-commands."""
