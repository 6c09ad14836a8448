"""What the shop does itself: it looks into its database, and puts letters together."""

import csv
import hashlib
import html
import json
import os
import pathlib
import re

# What mail servers take. People mistype their addresses, and a service that is given too many of those sends none at
# all any more.
ADDRESS = re.compile(r"[\w.+-]+@[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}", re.IGNORECASE | re.ASCII)
NAMES = ["Luffy", "Nami", "Zoro", "Usopp", "Sanji", "Chopper", "Robin", "Franky", "Brook", "Jinbe"]
TYPOS = ["@@", "@ ", "", " at "]


def database(count):
    """The envelopes that were opened, as the shop's database would say: from whom, to whom, how much."""

    def person(number):
        name = f"{NAMES[number % len(NAMES)]} {number}"
        key = f"member-{number}"
        at = TYPOS[number // 97 % len(TYPOS)] if number % 97 == 96 else "@"
        return {"key": key, "name": name, "email": f"{key}{at}example.com", "phone": f"+886{900_000_000 + number}"}

    amount = lambda number: 50 + int(hashlib.sha256(str(number).encode()).hexdigest(), 16) % 450
    return [
        {"id": f"envelope-{n}", "amount": amount(n), "sender": person(2 * n), "receiver": person(2 * n + 1)}
        for n in range(count)
    ]


def people(envelopes, outbox):
    """Writes the people whom the mail service has to know, for the upload, and says whose address is none."""
    everybody = {
        one[who]["key"]: one[who] for one in database(int(envelopes)) for who in ("sender", "receiver")
    }
    right = {key: person for key, person in everybody.items() if ADDRESS.fullmatch(person["email"])}
    file = pathlib.Path(outbox) / "subscribers.csv"
    half = file.with_name(f".{os.getpid()}.half")
    with half.open("w", newline="") as text:
        writer = csv.DictWriter(text, ["key", "name", "email", "phone"])
        writer.writeheader()
        writer.writerows(right.values())
    half.replace(file)
    wrong = [f"{person['name']}: {person['email']!r}" for key, person in everybody.items() if key not in right]
    print(len(right), "people to be known,", len(wrong), "addresses are none")
    return wrong


def letters_of(envelopes):
    """Each letter that somebody can get: who writes, to whom, what, and by what it is known."""
    for one in database(int(envelopes)):
        sender, receiver, amount = one["sender"], one["receiver"], one["amount"]
        told = f"{sender['name']} has sent you a red envelope with {amount} dollars"
        thanked = f"{receiver['name']} has opened your red envelope with {amount} dollars"
        for to, by, subject in ((receiver, sender, told), (sender, receiver, thanked)):
            if ADDRESS.fullmatch(to["email"]):
                yield {
                    "id": f"{one['id']}.{to['key']}",
                    "key": to["key"],
                    "to": to["email"],
                    "from": f"{by['name']} via EZTABLE <noreply@example.com>",
                    "subject": subject,
                }


def letters(envelopes):
    """For HttpOperator: a letter in each body. The service sends one for each key, however often it is asked."""
    return [
        {
            "data": json.dumps(letter),
            "headers": {"Content-Type": "application/json", "Idempotency-Key": letter["id"]},
        }
        for letter in letters_of(envelopes)
    ]


def mails(envelopes):
    """For EmailOperator. A mail server knows no such key."""
    return [
        {
            "to": letter["to"],
            "from_email": letter["from"],
            "subject": letter["subject"],
            "html_content": f"<p>{html.escape(letter['subject'])}.</p>",
            "custom_headers": {"X-Letter": letter["id"]},
        }
        for letter in letters_of(envelopes)
    ]


def texts(envelopes):
    """For SmsOperator."""
    return [
        {
            "to": one["receiver"]["phone"],
            "text": f"{one['sender']['name']} has sent you a red envelope with {one['amount']} dollars.",
        }
        for one in database(int(envelopes))
    ]


def report(wrong):
    """Lists whom nobody could write to."""
    for address in wrong:
        print("no letter to", address)
    return f"{len(wrong)} addresses are none"
