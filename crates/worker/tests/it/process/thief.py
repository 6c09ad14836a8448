"""Tries to take whatever is not its own. One line per attempt: STOLEN or KEPT, what, and why."""

import ctypes
import os
import socket
import sys

server, keeper, victim, victim_folder, abstract = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)


def attempt(what, steal):
    try:
        steal()
    except OSError as error:
        print("KEPT", what, "--", error)
    else:
        print("STOLEN", what)


def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def read(path):
    with open(path, "rb") as file:
        file.read(1)


def append(path):
    with open(path, "ab") as file:
        file.write(b"x")


def through_link(path):
    os.symlink(path, "link")
    read("link")


def by_handle(path):
    handle = (ctypes.c_uint * 34)(128)
    mount = ctypes.c_int()
    call("name_to_handle_at", -100, path.encode(), handle, ctypes.byref(mount), 0)
    root = os.open("/", os.O_RDONLY)
    call("open_by_handle_at", root, handle, os.O_RDONLY)


def seize(pid):
    call("ptrace", 0x4206, pid, None, None)


def read_memory(pid):
    class Range(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    with open(f"/proc/{pid}/maps") as maps:
        start = int(maps.readline().split("-")[0], 16)
    into = ctypes.create_string_buffer(8)
    here, there = Range(ctypes.addressof(into), 8), Range(start, 8)
    call("process_vm_readv", pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)


def take_descriptor(pid):
    pidfd = os.pidfd_open(pid)
    call("syscall", 438, pidfd, 0, 0)


def connect(name):
    socket.socket(socket.AF_UNIX).connect("\0" + name)


def foreign_variable():
    for name in os.environ:
        if name.startswith(("UPDRAFT__", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "CARGO_", "NEXTEST")):
            return
    raise OSError("none")


def foreign_descriptor():
    # Three standard ones, and the listing's own.
    if len(os.listdir("/proc/self/fd")) <= 4:
        raise OSError("none")


attempt("a variable", foreign_variable)
attempt("a descriptor", foreign_descriptor)
attempt("the key", lambda: read(f"{server}/key"))
attempt("the key through a link", lambda: through_link(f"{server}/key"))
attempt("the key by its handle", lambda: by_handle(f"{server}/key"))
attempt("the key through the server's root", lambda: read(f"/proc/{keeper}/root{server}/key"))
attempt("another task's log", lambda: read(f"{server}/logs/victim.log"))
attempt("another task's script", lambda: read(f"{victim_folder}/script"))
attempt("another task's file", lambda: read(f"{victim_folder}/work/diary"))
attempt("another task's secret", lambda: read(f"/proc/{victim}/fd/3"))

for name, pid in [("the server", int(keeper)), ("another task", int(victim))]:
    for tid in os.listdir(f"/proc/{pid}/task"):
        at = f"/proc/{pid}/task/{tid}"
        attempt(f"the environment of {name}", lambda: read(f"{at}/environ"))
        attempt(f"the maps of {name}", lambda: read(f"{at}/maps"))
        attempt(f"the descriptors of {name}", lambda: os.listdir(f"{at}/fd") and os.readlink(f"{at}/fd/0"))
        attempt(f"the working folder of {name}", lambda: os.listdir(f"{at}/cwd/"))
        attempt(f"a trace of {name}", lambda: seize(int(tid)))
        attempt(f"a signal to {name}", lambda: os.kill(int(tid), 0))
    attempt(f"memory of {name}", lambda: read_memory(pid))
    attempt(f"a descriptor of {name}", lambda: take_descriptor(pid))

attempt("a word with the server", lambda: connect(abstract))
attempt("a changed key", lambda: append(f"{server}/key"))
attempt("a cut key", lambda: os.truncate(f"{server}/key", 1))
attempt("a forged log", lambda: append(f"{server}/logs/thief.log"))
attempt("a new file of the server's", lambda: append(f"{server}/new"))
attempt("a new folder of the server's", lambda: os.mkdir(f"{server}/folder"))
attempt("a second name of the key", lambda: os.link(f"{server}/key", "key"))
attempt("a bind mount of the server's home", lambda: call("mount", server.encode(), b"/mnt", None, 4096, None))
attempt("a moved key", lambda: os.rename(f"{server}/key", "moved"))
attempt("a removed log", lambda: os.remove(f"{server}/logs/victim.log"))

with open(f"{server}/dags/dag.py") as file:
    print("MAY read what is excepted:", file.read())
with open("own", "w") as file:
    file.write("own")
with open("own") as file:
    print("MAY use its folder:", file.read())
