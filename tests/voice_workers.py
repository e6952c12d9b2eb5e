"""Voice workers for tests, written out as files: one well-behaved engine with all traits, and ways to misbehave.

Example::

    command = worker_command(tmp_path)                   # python -I serve.py tone_engine.py
    voice = PipeVoice(command, workers=2)
"""

from __future__ import annotations

import sys
from pathlib import Path

import orature.engines.workers as workers

SERVE = Path(str(workers.__file__)).with_name("serve.py")

TONES = '''
"""Tones by letter. Words in a text make it misbehave: die, hang, late, huge, twice, alien, noise, loud, orphan."""
import array, math, os, random, subprocess, sys, time

class Engine:
    def __init__(self, arguments):
        self.hello = {
            "engine": "tones", "revision": "tones 3", "rate_hz": 8000, "licence": "CC0-1.0", "deterministic": True,
            "languages": ["sw", "fr-FR"], "speakers": {"*": ["low", "high"], "fr-FR": ["mo"]},
            "traits": {"rate": True, "pitch": True, "expression": True, "random": True, "batch": 4,
                       "most_characters": 300, "most_seconds": 20},
        }
        self.operations = {"shout": lambda message: {"id": message["id"], "loud": message["text"].upper()}}
        self.marks = arguments[0] if arguments else ""

    def once(self, name):
        """True the first time over all processes."""
        try:
            os.close(os.open(os.path.join(self.marks, name), os.O_CREAT | os.O_EXCL))
            return True
        except FileExistsError:
            return False

    def speak(self, requests):
        for place, request in reversed(list(enumerate(requests))):
            words = request["text"].split()
            if "die" in words or ("die-once" in words and self.once("died")):
                print("the engine fell over", file=sys.stderr)
                os._exit(7)
            if "orphan" in words:
                child = subprocess.Popen(["sleep", "600"])
                open(os.path.join(self.marks, "orphan"), "w").write(str(child.pid))
            if "hang" in words:
                time.sleep(600)
            if "chatter" in words:
                print("x" * 300000, file=sys.stderr)
                print("this must not get between the replies", flush=True)
            if "refuse" in words:
                yield place, {"reason": "voice-failed", "detail": "asked to"}
                continue
            yield place, self.tone(request)

    def tone(self, request):
        draw = random.Random(repr((request["seed"], request["text"])))
        base = {"low": 1.0, "high": 1.5, "mo": 1.2}.get(request["speaker"], 1.1) * 2 ** (request["pitch"] / 12)
        samples = array.array("h")
        for at, letter in enumerate(request["text"]):
            hertz = base * (120 + 10 * request["expression"] * (at % 5))
            for i in range(round(480 / request["rate"])):
                samples.append(round(8000 * math.sin(6.2832 * hertz * i / 8000)) + draw.randint(-9, 9))
        return samples.tobytes()

def begin(arguments):
    if "broken" in arguments:
        raise SystemExit({"reason": "bad-model", "detail": "the model is broken"})
    if "lacking" in arguments:
        import no_such_package
    if "quit" in arguments:
        print("no room", file=sys.stderr)
        os._exit(3)
    return Engine(arguments)
'''


def worker_command(folder: Path, *arguments: str) -> list[str]:
    """The command that runs the engine of tones; its marks lie in `folder`."""
    script = folder / "tone_engine.py"
    script.write_text(TONES, encoding="utf-8")
    return [sys.executable, "-I", str(SERVE), str(script), *(arguments or (str(folder),))]


def raw_worker(folder: Path, body: str) -> list[str]:
    """A worker that is only `body`, after reading the hello of the client; `say` writes one line."""
    script = folder / "raw_worker.py"
    script.write_text(
        "import json, os, sys, time\n"
        "def say(line, more=b''):\n"
        "    os.write(1, json.dumps(line).encode() + b'\\n' + more)\n"
        "HELLO = {'protocol': 2, 'engine': 'raw', 'rate_hz': 8000}\n"
        "sys.stdin.readline()\n" + body,
        encoding="utf-8",
    )
    return [sys.executable, "-I", str(script)]
