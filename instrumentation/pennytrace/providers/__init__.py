"""One file a provider: what to wrap, how to route a call, how to read what was used."""
