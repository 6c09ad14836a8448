"""Sends every subscriber a text message through the gateway's HTTP API."""

import json
import os
import urllib.request

NUMBERS = ["+886900000001", "+886900000002", "+886900000003"]

for number in NUMBERS:
    body = json.dumps({"to": number, "text": "A red envelope waits for you."}).encode()
    request = urllib.request.Request(
        os.environ["SMS_URL"], data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        print("sent to", number, response.status)

print(len(NUMBERS))
