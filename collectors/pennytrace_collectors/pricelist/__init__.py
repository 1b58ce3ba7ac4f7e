"""Price lists as `pennytrace prices` shows, checks, compares and updates them."""
