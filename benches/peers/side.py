"""The programs on the other end of a pipe: ours (`server.rs`) and candle's."""

import json
import subprocess
from pathlib import Path


class Side:
    """A warm process that answers a line of JSON with a line of JSON."""

    def __init__(self, program, *arguments):
        command = [str(program), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, do, **command):
        """The reply to a command; paths are made absolute text."""
        command = {key: str(Path(value).resolve()) if isinstance(value, Path) else value
                   for key, value in command.items()}
        self.process.stdin.write(json.dumps({"do": do, **command}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]} ended with {self.process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise SystemExit(f"{self.process.args[0]}: {reply['error']}")
        return reply

    def milliseconds(self, do, **command):
        """What a command took by the process's own clock."""
        return self.ask(do, **command)["milliseconds"]

    def busy(self):
        """Processor seconds that all its threads have used."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()
