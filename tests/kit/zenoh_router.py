"""A zenoh router as a process of its own, which a test can kill: ``python zenoh_router.py PORT``, until stdin ends."""

import json
import subprocess
import sys


def start(port):
    """Start one on this port of loopback; it listens once this returns."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "open\n"
    return process


def stop(process):
    """Kill it, as a power cut would."""
    process.kill()
    process.communicate()


if __name__ == "__main__":
    import zenoh

    config = zenoh.Config()
    config.insert_json5("mode", '"router"')
    config.insert_json5("listen/endpoints", json.dumps([f"tcp/127.0.0.1:{sys.argv[1]}"]))
    config.insert_json5("scouting/multicast/enabled", "false")
    with zenoh.open(config):
        print("open", flush=True)
        sys.stdin.read()
