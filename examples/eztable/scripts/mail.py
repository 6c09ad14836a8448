"""Sends every subscriber a mail that comes from a person: "Luffy via EZTABLE"."""

import os
import smtplib
from email.message import EmailMessage
from email.utils import formataddr, make_msgid

RECIPIENTS = ["luffy@example.com", "nami@example.com", "zoro@example.com"]

with smtplib.SMTP("127.0.0.1", int(os.environ["SMTP_PORT"]), timeout=30) as smtp:
    for recipient in RECIPIENTS:
        mail = EmailMessage()
        mail["From"] = formataddr(("Luffy via EZTABLE", "noreply@example.com"))
        mail["To"] = recipient
        mail["Subject"] = "A red envelope for you"
        mail["Message-ID"] = make_msgid(domain="example.com")
        mail.set_content("Somebody has sent you a red envelope with 207 dollars in it.")
        smtp.send_message(mail)
        print("mailed", recipient)

print(len(RECIPIENTS))
