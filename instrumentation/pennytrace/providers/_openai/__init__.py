"""What the openai provider file is made of: hosts, usage and jobs, as data."""
