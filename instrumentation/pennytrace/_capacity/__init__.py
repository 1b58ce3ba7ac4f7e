"""What this machine provides: its GPUs, who holds them, and since when."""
