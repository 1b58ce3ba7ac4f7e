"""Models that transformers runs in this process: what they are, what they read and wrote, and how long it took."""
