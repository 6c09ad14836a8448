"""The shop's surroundings on one machine: an FTP server, a mail server and an SMS gateway.

Prints one JSON object a line: first the ports, then each file, mail and text message that arrives. Ends when its
standard input does. With `--refuse-sms` the gateway refuses every message.
"""

import asyncio
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


def tell(**event):
    with lock:
        print(json.dumps(event), flush=True)


class Ftp(FTPHandler):
    authorizer = DummyAuthorizer()

    def ftp_RNTO(self, path):
        renamed = super().ftp_RNTO(path)
        if renamed is not None:
            tell(kind="file", name=pathlib.Path(path).name, text=pathlib.Path(path).read_text())
        return renamed


class Mail:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        tell(kind="mail", sender=mail["From"], to=envelope.rcpt_tos, subject=mail["Subject"])
        return "250 OK"


class Sms(BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tell(kind="sms", refused=refuse_sms, to=message["to"], text=message["text"])
        self.send_response(503 if refuse_sms else 202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


config_logging(level="WARNING")
Ftp.authorizer.add_user("shop", "shop", str(folder), perm="elradfmwMT")
ftp = ThreadedFTPServer(("127.0.0.1", 0), Ftp)
sms = ThreadingHTTPServer(("127.0.0.1", 0), Sms)
for server in (ftp, sms):
    threading.Thread(target=server.serve_forever, daemon=True).start()


async def main():
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(lambda: SMTP(Mail(), hostname="localhost"), "127.0.0.1", 0)
    tell(
        kind="ports",
        ftp=ftp.socket.getsockname()[1],
        smtp=smtp.sockets[0].getsockname()[1],
        sms=sms.server_address[1],
    )
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
