#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Texts from programs of any vnode to those of others: `notices.py REGION` shows them, `notices.py REGION TEXT...` gives one.

Wants libbridge.so where the loader finds it (LD_LIBRARY_PATH): cargo build --release -p libbridge-c.
"""
import ctypes, errno, os, sys
from ctypes import c_char_p, c_int, c_int64, c_uint, c_uint16, c_uint64, c_void_p

GLOBAL, WRITE, ALL_VNODES, FOR_EVER = -1, 2, 0xFFFF, -1
LOCK, TEXT, ROOM = 0, 64, 1000  # where they lie in the region
PROTOTYPES = {  # what each returns, and what it takes
    "bridge_create": (c_void_p, c_char_p, c_int, c_uint64, c_uint, c_uint16, c_uint16),
    "bridge_open": (c_void_p, c_char_p, c_int, c_int),
    "bridge_map": (c_void_p, c_void_p),
    "bridge_notices": (c_int64, c_void_p),
    "bridge_notify": (c_int, c_void_p),
    "bridge_wait": (c_int64, c_void_p, c_uint64, c_int64),
    "bridge_lock_open": (c_void_p, c_void_p, c_uint64),
    "bridge_lock_acquire": (c_int, c_void_p, c_int64),
    "bridge_lock_recovered": (c_int, c_void_p),
    "bridge_lock_release": (c_int, c_void_p),
}
library = ctypes.CDLL("libbridge.so", use_errno=True)


def call(name, *arguments):
    function = getattr(library, name)
    function.restype, *function.argtypes = PROTOTYPES[name]
    result = function(*arguments)
    if result in (None, -1):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


if len(sys.argv) < 2:
    sys.exit(__doc__)
name, text = sys.argv[1].encode(), " ".join(sys.argv[2:]).encode()[: ROOM - 1]
try:
    region = call("bridge_create", name, GLOBAL, 2 << 20, 0o666, ALL_VNODES, ALL_VNODES)
except FileExistsError:
    region = call("bridge_open", name, GLOBAL, WRITE)
place, lock = call("bridge_map", region) + TEXT, call("bridge_lock_open", region, LOCK)
seen = call("bridge_notices", region)
while True:
    try:
        if not text:
            seen = call("bridge_wait", region, seen, FOR_EVER)
    except OSError as error:
        if error.errno != errno.EOWNERDEAD:
            raise
        print("a vnode has died", flush=True)
    if call("bridge_lock_acquire", lock, FOR_EVER) == 1:
        ctypes.memset(place, 0, ROOM)  # who has ended with the lock may have left half a text
        call("bridge_lock_recovered", lock)
    if text:
        ctypes.memmove(place, text + b"\0", len(text) + 1)
    shown = ctypes.string_at(place, ROOM).split(b"\0")[0]
    call("bridge_lock_release", lock)
    if text:
        sys.exit(call("bridge_notify", region))
    print(shown.decode(errors="replace"), flush=True)
