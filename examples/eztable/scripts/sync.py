"""Writes the subscribers as CSV and uploads them by FTP; the mail service takes in what arrives."""

import csv
import ftplib
import io
import os

SUBSCRIBERS = [
    ("luffy", "luffy@example.com", "+886900000001"),
    ("nami", "nami@example.com", "+886900000002"),
    ("zoro", "zoro@example.com", "+886900000003"),
]

text = io.StringIO()
writer = csv.writer(text)
writer.writerow(["key", "email", "phone"])
writer.writerows(SUBSCRIBERS)

with ftplib.FTP() as ftp:
    ftp.connect(os.environ.get("FTP_HOST", "127.0.0.1"), int(os.environ["FTP_PORT"]), timeout=30)
    ftp.login("shop", os.environ.get("FTP_PASSWORD", "shop"))
    # Under another name first, so that nobody takes in half a file.
    ftp.storbinary("STOR subscribers.csv.part", io.BytesIO(text.getvalue().encode()))
    ftp.rename("subscribers.csv.part", "subscribers.csv")

print(len(SUBSCRIBERS))
