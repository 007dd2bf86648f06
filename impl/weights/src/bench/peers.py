"""Saves and loads with one library of the Python world, as often as it is asked.

Arguments: the library, a safetensors file, a path to save to. The first line that it prints says which
version runs, or why none does. Each line that it reads is one repeat; each answer is one line of JSON:
seconds of saving and of loading, and by how many bytes the resident memory grew while it did so.
"""

import base64
import importlib
import json
import os
import sys
import time

# The first test key of RFC 8032, section 7.1: the library signs its header, and needs no secret here.
ED25519_SECRET = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
ED25519_PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def say(answer):
    print(json.dumps(answer), flush=True)


def resident(field):
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("the system does not say how much memory is resident")


def measured(work):
    """What `work` returned, its seconds, and how far memory rose above what there was before."""
    with open("/proc/self/clear_refs", "w") as references:
        references.write("5")  # the peak starts again from what is resident now
    before = resident("VmRSS")
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    return result, {"seconds": seconds, "peak": max(0, resident("VmHWM") - before)}


def encryption(library):
    """Keys of cryptotensors: a fresh one to encrypt under, and one to sign its header with."""
    text = lambda key: base64.b64encode(key).decode()
    secret, public = bytes.fromhex(ED25519_SECRET), bytes.fromhex(ED25519_PUBLIC)
    encrypt = {"kty": "oct", "alg": "aes256gcm", "k": text(os.urandom(32)), "kid": "bench"}
    sign = {"kty": "okp", "crv": "Ed25519", "alg": "ed25519", "kid": "bench-sign"}
    sign.update(d=text(secret), x=text(public))
    library.register_direct_key_provider(keys=[encrypt, sign])
    return {"config": {"enc_key": encrypt, "sign_key": sign}}


def main(name, source, target):
    library = importlib.import_module(name)
    arrays = importlib.import_module(name + ".numpy")
    tensors = arrays.load_file(source)
    options = encryption(library) if name == "cryptotensors" else {}

    def save():
        arrays.save_file(tensors, target, **options)
        # Durable, as what it is compared with is.
        with open(target, "rb") as saved:
            os.fsync(saved.fileno())

    save()
    loaded = arrays.load_file(target)
    same = loaded.keys() == tensors.keys() and all(
        loaded[each].tobytes() == tensors[each].tobytes() for each in tensors
    )
    del loaded
    if not same:
        raise RuntimeError("what was loaded is not what was saved")
    say({"version": library.__version__})
    for _ in sys.stdin:
        _, saved = measured(save)
        kept, loaded = measured(lambda: arrays.load_file(target))
        del kept
        say({"save": saved, "load": loaded})


try:
    main(*sys.argv[1:])
except Exception as error:
    lines = str(error).splitlines() or [""]
    say({"failed": type(error).__name__ + ": " + lines[0]})
