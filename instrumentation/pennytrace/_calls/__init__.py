"""The life of a call: what is asked, how the answer is followed and read, what it used."""
