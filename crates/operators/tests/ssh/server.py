"""An SSH server with passwords for the tests, since sshd lets in none but the system's accounts: prints its port.

Its account is `etl` with the password `s3cret-of-etl`. Its first argument is the key of the server, its second the
folder that its files are in, its third `password` or `questions`: how it asks.
"""

import asyncio
import sys

import asyncssh

PASSWORD = "s3cret-of-etl"


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return sys.argv[3] == "password"

    def validate_password(self, username, password):
        return (username, password) == ("etl", PASSWORD)

    def kbdint_auth_supported(self):
        return sys.argv[3] == "questions"

    def get_kbdint_challenge(self, username, lang, submethods):
        return "", "", "", [("Your password, please: ", False)]

    def validate_kbdint_response(self, username, responses):
        return (username, responses) == ("etl", [PASSWORD])


class Files(asyncssh.SFTPServer):
    def __init__(self, chan):
        super().__init__(chan, chroot=sys.argv[2].encode())


async def main():
    server = await asyncssh.create_server(
        Server, "127.0.0.1", 0, server_host_keys=[sys.argv[1]], sftp_factory=Files
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
