"""An app with one line of pennytrace and the real openai client, told line by line on standard input what to ask.

Each line is JSON: the address of an API, a model, how often to ask it, for which feature. Each is answered with "done".
"""

from __future__ import annotations

import json
import sys

import openai

import pennytrace

pennytrace.init()

for line in sys.stdin:
    order = json.loads(line)
    with (
        openai.OpenAI(base_url=order["base_url"], max_retries=0) as client,
        pennytrace.tag(feature=order["feature"]),
    ):
        for _ in range(order["calls"]):
            client.chat.completions.create(
                model=order["model"], messages=[{"role": "user", "content": "8,000 tokens, please"}]
            )
    sys.stdout.write("done\n")
    sys.stdout.flush()
