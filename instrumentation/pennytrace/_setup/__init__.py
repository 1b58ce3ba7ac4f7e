"""What `init` is told, and how it takes hold of a process."""
