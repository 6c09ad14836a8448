"""A mail server for the tests: prints its port, then each mail it takes as a line of JSON.

Its first argument: `plain`, `starttls` (required) or `tls`. A recipient `nobody@…` is refused for good, `later@…`
for now, `grey@…` the first time, and at `away@…` the connection breaks; the first mail to `hang@…` is taken and never answered, and at one to
`break@…` the connection breaks. The account is `user` with the password `secret`, if `auth` is the second argument. The
port is the variable PORT, or any that is free.
"""

import asyncio
import json
import os
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

HERE = pathlib.Path(__file__).parent


class Handler:
    hung = False
    greeted = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        if address.startswith("grey@") and address not in self.greeted:
            self.greeted.add(address)
            return "451 4.7.1 greylisted, try again"
        if address.startswith("later@"):
            return "451 4.3.0 come back later"
        if address.startswith("away@"):
            server.transport.abort()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "login": session.auth_data and session.auth_data.login.decode(),
            "content": envelope.content.decode(),
        }
        print(json.dumps(mail), flush=True)
        if not Handler.hung and any(to.startswith("hang@") for to in envelope.rcpt_tos):
            Handler.hung = True
            await asyncio.Event().wait()
        if any(to.startswith("break@") for to in envelope.rcpt_tos):
            server.transport.abort()
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    if data.login == b"user" and data.password == b"secret":
        return AuthResult(success=True, auth_data=data)
    if data.login == b"patience":
        # Says nothing, for good.
        return AuthResult(success=False, handled=True)
    return AuthResult(success=False, handled=False)


async def main(mode, auth):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(HERE / "cert.pem", HERE / "key.pem")

    def session():
        return SMTP(
            Handler(),
            hostname="localhost",
            tls_context=context if mode == "starttls" else None,
            require_starttls=mode == "starttls",
            authenticator=authenticate if auth else None,
            auth_required=auth,
            auth_require_tls=mode != "plain" and mode != "tls",
        )

    loop = asyncio.get_running_loop()
    port = int(os.environ.get("PORT", 0))
    server = await loop.create_server(session, "127.0.0.1", port, ssl=context if mode == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    # The one who asked for it is gone when there is nothing more to read.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main(sys.argv[1], sys.argv[2:] == ["auth"]))
