"""Sends each receiver of a red envelope a text message through the gateway's HTTP API."""

import json
import os
import pathlib
import urllib.request

envelopes = json.loads(pathlib.Path(__file__).with_name("envelopes.json").read_text())

for one in envelopes:
    text = f"{one['sender']['name']} has sent you a red envelope with {one['amount']} dollars."
    # The gateway sends one message for each id, however often a retry asks for it.
    body = json.dumps({"id": one["id"], "to": one["receiver"]["phone"], "text": text}).encode()
    request = urllib.request.Request(
        os.environ["SMS_URL"], data=body, headers={"Content-Type": "application/json"}
    )
    # An answer other than 2xx is an exception, and so a failure of the task.
    with urllib.request.urlopen(request, timeout=30) as response:
        print("sent to", one["receiver"]["phone"], response.status)
