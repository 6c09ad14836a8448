"""Mails receiver and sender of each red envelope; each mail comes from a person: "Luffy via EZTABLE"."""

import json
import os
import pathlib
import smtplib
from email.message import EmailMessage
from email.utils import formataddr

envelopes = json.loads(pathlib.Path(__file__).with_name("envelopes.json").read_text())


def mail(envelope, to, by, subject):
    message = EmailMessage()
    message["From"] = formataddr((f"{by['name']} via EZTABLE", "noreply@example.com"))
    message["To"] = to["email"]
    message["Subject"] = subject
    # The same at a retry, so that a mail service can leave out what it has sent already.
    message["Message-ID"] = f"<{envelope['id']}.{to['key']}@example.com>"
    message.set_content(f"Hello {to['name']},\n\n{subject}.\n")
    return message


with smtplib.SMTP("127.0.0.1", int(os.environ["SMTP_PORT"]), timeout=30) as smtp:
    for one in envelopes:
        sender, receiver, amount = one["sender"], one["receiver"], one["amount"]
        told = f"{sender['name']} has sent you a red envelope with {amount} dollars"
        thanked = f"{receiver['name']} has opened your red envelope with {amount} dollars"
        for message in (mail(one, receiver, sender, told), mail(one, sender, receiver, thanked)):
            smtp.send_message(message)
            print("mailed", message["To"])
