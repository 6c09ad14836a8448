"""The shop's surroundings on one machine: the mail service with its FTP server, a plain mail server, an SMS gateway.

Prints one JSON object a line: first the ports, then each file, mail and text message that arrives. Ends when its
standard input does. With `--refuse-sms` the gateway refuses every message. Of two with the same idempotency key the
mail service and the gateway send one, as real ones do; the plain mail server knows no such thing.
"""

import asyncio
import csv
import email
import email.policy
import json
import pathlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.smtp import SMTP
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.log import config_logging
from pyftpdlib.servers import ThreadedFTPServer

folder = pathlib.Path(sys.argv[1])
refuse_sms = "--refuse-sms" in sys.argv[2:]
lock = threading.Lock()
subscribers = {}
keys = set()


def tell(**event):
    with lock:
        print(json.dumps(event), flush=True)


class Ftp(FTPHandler):
    authorizer = DummyAuthorizer()

    def ftp_RNTO(self, path):
        renamed = super().ftp_RNTO(path)
        if renamed is not None:
            with open(path, newline="") as text:
                subscribers.update((row["key"], row["email"]) for row in csv.DictReader(text))
            tell(kind="file", name=pathlib.Path(path).name, text=pathlib.Path(path).read_text())
        return renamed


class Mail:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        letter = mail["X-Letter"]
        tell(kind="mail", sender=mail["From"], to=envelope.rcpt_tos, subject=mail["Subject"], letter=letter)
        return "250 OK"


class Http(BaseHTTPRequestHandler):
    """POST /messages/send is the mail service, anything else the SMS gateway."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        status, answer = self.mail(message, key) if self.path == "/messages/send" else self.text(message, key)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def mail(self, letter, key):
        if subscribers.get(letter["key"]) != letter["to"]:
            return 400, {"error": f"{letter['key']} is no subscriber with the address {letter['to']}"}
        if self.is_new(key):
            sent = {"sender": letter["from"], "to": [letter["to"]], "subject": letter["subject"]}
            tell(kind="mail", letter=letter["id"], **sent)
        return 202, {"id": key}

    def text(self, message, key):
        if refuse_sms:
            tell(kind="sms", refused=True, to=message["to"], text=message["text"])
            return 503, {"error": "not now"}
        if self.is_new(key):
            tell(kind="sms", refused=False, to=message["to"], text=message["text"])
        return 202, {"id": key}

    def is_new(self, key):
        with lock:
            new = key not in keys
            keys.add(key)
            return new

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, request, address):
        """Who asked was killed: an everyday matter here."""


config_logging(level="WARNING")
Ftp.authorizer.add_user("shop", "shop", str(folder), perm="elradfmwMT")
ftp = ThreadedFTPServer(("127.0.0.1", 0), Ftp)
http = Server(("127.0.0.1", 0), Http)
for server in (ftp, http):
    threading.Thread(target=server.serve_forever, daemon=True).start()


async def main():
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(lambda: SMTP(Mail(), hostname="localhost"), "127.0.0.1", 0, backlog=256)
    tell(
        kind="ports",
        ftp=ftp.socket.getsockname()[1],
        smtp=smtp.sockets[0].getsockname()[1],
        http=http.server_address[1],
    )
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
