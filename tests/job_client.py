"""Stands for `python -m <module>` of a test's jobs: has `tests/job_server.py` do it.

The first argument is the server's socket. Where the job was killed by a signal, so is this.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect(sys.argv[1])
    request = {"cwd": str(Path.cwd()), "env": dict(os.environ), "argv": sys.argv[2:]}
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
    code = json.loads(server.recv(64))
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
