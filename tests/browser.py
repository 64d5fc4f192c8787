"""A headless Chromium, spoken to in its own protocol over a pipe: no driver, no network."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time


def installed():
    """The browser's program, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One page, what its console said, and what it asked for over the network."""

    def __init__(self, folder, width=1400, height=1000):
        ours, theirs = os.pipe(), os.pipe()

        def connect():
            # By way of high numbers, as either pipe may hold 3 or 4 itself.
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (ours[0], theirs[1])]
            for number, end in zip((3, 4), ends, strict=True):
                os.dup2(end, number)

        self.process = subprocess.Popen(
            [
                installed(),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
                "--no-first-run",
                "--disable-background-networking",
                "--allow-file-access-from-files",
                f"--user-data-dir={folder}",
                f"--window-size={width},{height}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=connect,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self.out, self.back = ours[1], theirs[0]
        self.number, self.rest, self.session = 0, b"", None
        self.errors, self.requests = [], []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **params):
        """Call a method of the protocol; returns its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.hear()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def hear(self):
        """The next message; events of the console and the network are kept."""
        while b"\0" not in self.rest:
            part = os.read(self.back, 1 << 20)
            assert part, "the browser is gone"
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(line)
        event, about = message.get("method"), message.get("params", {})
        if event == "Runtime.exceptionThrown":
            self.errors.append(about["exceptionDetails"].get("exception", {}).get("description", "?"))
        elif event == "Runtime.consoleAPICalled" and about["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in about["args"]))
        elif event == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.errors.append(about["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        return message

    def open(self, url):
        """Go to a page and wait until it has loaded."""
        self.ask("Page.navigate", url=url)
        self.until("document.readyState == 'complete'")

    def run(self, script):
        """The value of a JavaScript expression (a promise is awaited)."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script, seconds=20):
        """Wait until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < deadline, f"not true after {seconds} s: {script}"
            time.sleep(0.05)

    def picture(self, path):
        """A screenshot."""
        data = self.ask("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self):
        """End the browser."""
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.back)
