"""The shop's surroundings on one machine: an FTP server, a mail server and an SMS gateway.

Prints one line of JSON with their ports, then serves until it is ended. Every mail and text message that arrives
is written to the folder given, one JSON object a line.
"""

import json
import pathlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

folder = pathlib.Path(sys.argv[1])
(folder / "ftp").mkdir(parents=True, exist_ok=True)
lock = threading.Lock()


def note(name, entry):
    with lock, (folder / name).open("a") as file:
        file.write(json.dumps(entry) + "\n")


class Mail:
    async def handle_DATA(self, server, session, envelope):
        note("mails.jsonl", {"to": envelope.rcpt_tos, "text": envelope.content.decode(errors="replace")})
        return "250 OK"


class Sms(BaseHTTPRequestHandler):
    def do_POST(self):
        note("sms.jsonl", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *args):
        pass


authorizer = DummyAuthorizer()
authorizer.add_user("shop", "shop", str(folder / "ftp"), perm="elradfmwMT")


class Ftp(FTPHandler):
    pass


Ftp.authorizer = authorizer
ftp = ThreadedFTPServer(("127.0.0.1", 0), Ftp)
threading.Thread(target=ftp.serve_forever, daemon=True).start()

sms = ThreadingHTTPServer(("127.0.0.1", 0), Sms)
threading.Thread(target=sms.serve_forever, daemon=True).start()

smtp = Controller(Mail(), hostname="127.0.0.1", port=0)
smtp.start()

ports = {
    "ftp": ftp.socket.getsockname()[1],
    "smtp": smtp.server.sockets[0].getsockname()[1],
    "sms": sms.server_address[1],
}
print(json.dumps(ports), flush=True)
threading.Event().wait()
