"""An FTP server for the tests: prints its port.

Its account is `etl` with the password `s3cret-of-etl`. Its first argument is the folder that its files are in, its
second `plain` or `tls` (required, by the certificate of the tests). `busy` is a file that can't be looked at just now,
as a busy server answers.
"""

import logging
import os
import pathlib
import sys
import threading

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.log import config_logging
from pyftpdlib.servers import FTPServer

TLS = pathlib.Path(__file__).parent.parent / "tls"


def end_with_the_test():
    sys.stdin.read()
    os._exit(0)


authorizer = DummyAuthorizer()
authorizer.add_user("etl", "s3cret-of-etl", sys.argv[1], perm="elradfmwMT")


class Handler(TLS_FTPHandler if sys.argv[2] == "tls" else FTPHandler):
    # A wrong password is answered at once.
    auth_failed_timeout = 0

    def ftp_MDTM(self, path):
        if path.endswith("/busy"):
            self.respond("450 come back later")
            return None
        return super().ftp_MDTM(path)


Handler.authorizer = authorizer
if sys.argv[2] == "tls":
    Handler.certfile = str(TLS / "cert.pem")
    Handler.keyfile = str(TLS / "key.pem")
    Handler.tls_control_required = True
    Handler.tls_data_required = True

# What it is told, so that a test sees it.
config_logging(level=logging.DEBUG)
server = FTPServer(("127.0.0.1", 0), Handler)
print(server.socket.getsockname()[1], flush=True)
threading.Thread(target=end_with_the_test, daemon=True).start()
server.serve_forever()
